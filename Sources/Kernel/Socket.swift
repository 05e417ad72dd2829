import CLinux
import Glibc
import Primitives

/// Socket calls in terms of this package's values.
public enum Socket {
  public enum Kind: Sendable { case stream, datagram }

  /// A non-blocking connection attempt; wait for `writable`, then ask `pendingError`. A datagram socket is
  /// connected at once.
  ///
  /// - Parameter retransmissionLimit: see `limitRetransmission`; holds for the attempt itself as well.
  public static func connect(
    to endpoint: Endpoint, _ kind: Kind = .stream, retransmissionLimit: Interval? = nil
  ) throws(SystemError) -> OwnedDescriptor {
    let socket = try make(endpoint.address.family, kind)
    if let retransmissionLimit { limitRetransmission(socket, to: retransmissionLimit) }
    do throws(SystemError) {
      try connect(socket, to: endpoint)
    } catch {
      guard error.code == EINPROGRESS else { throw error }
    }
    return socket
  }

  /// Connects a socket; EINPROGRESS is an error here like any other.
  public static func connect(_ socket: borrowing OwnedDescriptor, to endpoint: Endpoint) throws(SystemError) {
    var address = SocketAddress(endpoint)
    let fd = socket.rawValue
    try checked("connect", endpoint.description) {
      unsafe address.withBytes { unsafe clinux_connect(fd, $0, $1.pointee) }
    }
  }

  /// A non-blocking socket that is closed on exec.
  public static func make(_ family: IPAddress.Family, _ kind: Kind) throws(SystemError) -> OwnedDescriptor {
    let type = CInt((kind == .stream ? SOCK_STREAM : SOCK_DGRAM).rawValue)
    return OwnedDescriptor(
      owning: try checked("socket") { clinux_socket(family == .v4 ? AF_INET : AF_INET6, type, 0) })
  }

  /// A raw socket for one IP protocol; needs CAP_NET_RAW.
  public static func raw(_ family: IPAddress.Family, ipProtocol: CInt) throws(SystemError) -> OwnedDescriptor {
    OwnedDescriptor(
      owning: try checked("socket(SOCK_RAW)") {
        clinux_socket(family == .v4 ? AF_INET : AF_INET6, CInt(SOCK_RAW.rawValue), ipProtocol)
      })
  }

  /// Listens on a TCP endpoint. An IPv6 endpoint takes IPv4 connections as well if it is unspecified.
  public static func listen(on endpoint: Endpoint, backlog: CInt = 1024) throws(SystemError) -> OwnedDescriptor {
    let socket = try make(endpoint.address.family, .stream)
    try setOption(socket, SOL_SOCKET, SO_REUSEADDR, 1)
    if endpoint.address.family == .v6 {
      try setOption(socket, CInt(IPPROTO_IPV6), IPV6_V6ONLY, endpoint.address.isUnspecified ? 0 : 1)
    }
    var address = SocketAddress(endpoint)
    try checked("bind", endpoint.description) {
      unsafe address.withBytes { unsafe clinux_bind(socket.rawValue, $0, $1.pointee) }
    }
    try checked("listen", endpoint.description) { Glibc.listen(socket.rawValue, backlog) }
    return socket
  }

  /// A datagram socket with a port of its own, whichever is free, on all addresses.
  public static func bindDatagram(_ family: IPAddress.Family) throws(SystemError) -> OwnedDescriptor {
    let socket = try make(family, .datagram)
    var address = SocketAddress(Endpoint(family == .v4 ? IPAddress(v4: 0) : IPAddress(v6: 0), 0))
    try checked("bind") {
      unsafe address.withBytes { unsafe clinux_bind(socket.rawValue, $0, $1.pointee) }
    }
    return socket
  }

  /// The next connection; `nil` when none waits.
  public static func accept(from listener: borrowing OwnedDescriptor) throws(SystemError) -> OwnedDescriptor? {
    let fd = clinux_accept(listener.rawValue, nil, nil)
    if fd >= 0 { return OwnedDescriptor(owning: fd) }
    switch clinux_errno() {
    // accept(2): pending network errors of the new connection are to be treated like EAGAIN.
    case EAGAIN, EINTR, ECONNABORTED, EPROTO: return nil
    case let code: throw SystemError(call: "accept4", code: code)
    }
  }

  /// The outcome of a connection attempt or the error that a socket holds; `nil` when there is none.
  public static func pendingError(_ socket: borrowing OwnedDescriptor) -> SystemError? {
    var code: CInt = 0
    guard unsafe clinux_option(socket.rawValue, SOL_SOCKET, SO_ERROR, &code) == 0 else { return .last("getsockopt") }
    return code == 0 ? nil : SystemError(call: "connect", code: code)
  }

  /// Bytes that were written and not acknowledged by the peer (SIOCOUTQ, tcp(7)); 0 if the kernel doesn't tell.
  public static func unacknowledgedBytes(_ socket: borrowing OwnedDescriptor) -> Int {
    var count: CInt = 0
    return unsafe ioctl(socket.rawValue, UInt(TIOCOUTQ), &count) == 0 ? Int(max(0, count)) : 0
  }

  public static func localEndpoint(_ socket: borrowing OwnedDescriptor) -> Endpoint? {
    unsafe name(socket, clinux_local_name)
  }

  public static func peerEndpoint(_ socket: borrowing OwnedDescriptor) -> Endpoint? {
    unsafe name(socket, clinux_peer_name)
  }

  /// No Nagle delay: small interactive payload never waits for a timer.
  public static func setNoDelay(_ socket: borrowing OwnedDescriptor) throws(SystemError) {
    try setOption(socket, CInt(IPPROTO_TCP), TCP_NODELAY, 1)
  }

  /// Bytes that may wait unsent in the kernel before the socket stops being writable: keeps the queue where
  /// small traffic can still overtake.
  public static func setUnsentLimit(_ socket: borrowing OwnedDescriptor, bytes: CInt) throws(SystemError) {
    try setOption(socket, CInt(IPPROTO_TCP), TCP_NOTSENT_LOWAT, bytes)
  }

  /// The kernel's own detection of a dead peer. Seconds, and probes until the connection is given up.
  public static func setKeepalive(
    _ socket: borrowing OwnedDescriptor, idle: CInt, interval: CInt, probes: CInt
  ) throws(SystemError) {
    try setOption(socket, SOL_SOCKET, SO_KEEPALIVE, 1)
    try setOption(socket, CInt(IPPROTO_TCP), TCP_KEEPIDLE, idle)
    try setOption(socket, CInt(IPPROTO_TCP), TCP_KEEPINTVL, interval)
    try setOption(socket, CInt(IPPROTO_TCP), TCP_KEEPCNT, probes)
  }

  /// Asks for room for what has arrived and wasn't read yet, in bytes with the kernel's own overhead. Without
  /// CAP_NET_ADMIN the kernel gives what net.core.rmem_max allows.
  public static func setReceiveBuffer(_ socket: borrowing OwnedDescriptor, bytes: CInt) throws(SystemError) {
    // The kernel doubles what it is asked for (socket(7)).
    guard clinux_set_option(socket.rawValue, SOL_SOCKET, SO_RCVBUFFORCE, bytes / 2) < 0 else { return }
    try setOption(socket, SOL_SOCKET, SO_RCVBUF, bytes / 2)
  }

  /// Datagrams that found no room in the socket's receive buffer since it was made (SO_MEMINFO); 0 if the kernel
  /// doesn't tell. Wraps around.
  public static func droppedDatagrams(_ socket: borrowing OwnedDescriptor) -> UInt32 {
    var count: CUnsignedInt = 0
    return unsafe clinux_dropped(socket.rawValue, &count) == 0 ? count : 0
  }

  /// Milliseconds that sent data may stay unacknowledged (TCP_USER_TIMEOUT).
  public static func setUserTimeout(_ socket: borrowing OwnedDescriptor, milliseconds: CInt) throws(SystemError) {
    try setOption(socket, CInt(IPPROTO_TCP), TCP_USER_TIMEOUT, milliseconds)
  }

  /// How long a connection of the tunnel waits between two retransmissions: no round trip that people work over is
  /// longer, and what was out of order for some seconds goes on within so much more.
  public static let briskRetransmission = Interval.seconds(2)

  /// The longest wait between two retransmissions, at least a second (TCP_RTO_MAX_MS, Linux 6.15).
  ///
  /// Without it they double to 120 s (RFC 6298 section 2.4), so that a line that was out for 20 s stays unused for as
  /// long again. Older kernels don't know it, and go on doubling.
  public static func limitRetransmission(_ socket: borrowing OwnedDescriptor, to interval: Interval) {
    // linux/tcp.h; the headers of Debian 12 don't have the name.
    let TCP_RTO_MAX_MS: CInt = 44
    _ = clinux_set_option(socket.rawValue, CInt(IPPROTO_TCP), TCP_RTO_MAX_MS, CInt(clamping: interval.milliseconds))
  }

  /// Ends the sending direction: the peer reads to the end.
  public static func finish(_ socket: borrowing OwnedDescriptor) {
    _ = shutdown(socket.rawValue, CInt(SHUT_WR))
  }

  /// Makes the coming close a reset (RST), so that the peer can't take a cut for the end. That holds for the close that
  /// the kernel does for a process that was killed, too.
  public static func resetOnClose(_ socket: borrowing OwnedDescriptor) {
    _ = clinux_reset_on_close(socket.rawValue, 1)
  }

  /// Makes the coming close an orderly one again: what was written still leaves, and a FIN after it.
  public static func finishOnClose(_ socket: borrowing OwnedDescriptor) {
    _ = clinux_reset_on_close(socket.rawValue, 0)
  }

  /// How the peer of a TCP connection leaves the kernel's questions unanswered.
  public struct Silence: Equatable, Sendable {
    /// Retransmissions or window probes since its last answer.
    public var unanswered: Int
    /// Time since its last acknowledgement of anything.
    public var time: Interval
  }

  /// Asks the kernel (TCP_INFO) whether the peer still answers. Unlike TCP_USER_TIMEOUT, this tells a peer that is gone
  /// from one that keeps its window shut and says so (RFC 9293 section 3.8.6.1 lets it do that for as long as it likes).
  public static func silence(of socket: borrowing OwnedDescriptor) -> Silence? {
    var (questions, milliseconds): (CUnsignedInt, CUnsignedInt) = (0, 0)
    guard unsafe clinux_tcp_unanswered(socket.rawValue, &questions, &milliseconds) == 0 else { return nil }
    return Silence(unanswered: Int(questions), time: .milliseconds(Int64(milliseconds)))
  }

  public static func setOption(
    _ socket: borrowing OwnedDescriptor, _ level: CInt, _ name: CInt, _ value: CInt
  ) throws(SystemError) {
    try checked("setsockopt") { clinux_set_option(socket.rawValue, level, name, value) }
  }

  // MARK: Addresses

  /// Sends a datagram to `endpoint` from an unconnected socket.
  public static func send(
    _ bytes: Span<UInt8>, to endpoint: Endpoint, from socket: borrowing OwnedDescriptor
  ) throws(SystemError) {
    var address = SocketAddress(endpoint)
    try checked("sendto", endpoint.description) {
      let sent = unsafe bytes.withUnsafeBytes { data in
        unsafe address.withBytes {
          unsafe clinux_send_to(socket.rawValue, data.baseAddress, data.count, $0, $1.pointee)
        }
      }
      return CInt(clamping: sent)
    }
  }

  /// Receives a datagram and its source; `nil` when none waits. The count is the datagram's own, which may be
  /// more than there was room for.
  public static func receive(
    into bytes: inout MutableSpan<UInt8>, from socket: borrowing OwnedDescriptor
  ) throws(SystemError) -> (count: Int, source: Endpoint)? {
    var address = SocketAddress()
    let count = unsafe bytes.withUnsafeMutableBytes { buffer in
      unsafe address.withBytes { unsafe clinux_receive_from(socket.rawValue, buffer.baseAddress, buffer.count, $0, $1) }
    }
    if count < 0 {
      switch clinux_errno() {
      case EAGAIN, EINTR: return nil
      case let code: throw SystemError(call: "recvfrom", code: code)
      }
    }
    return (count, address.endpoint ?? Endpoint(IPAddress(v4: 0), 0))
  }

  /// Resolves a name by the system's resolver. Blocks; order as the resolver gives it (RFC 6724).
  public static func resolve(_ host: String, port: UInt16) throws(ResolveError) -> [Endpoint] {
    if let address = IPAddress(host) { return [Endpoint(address, port)] }
    var hints = unsafe addrinfo()
    unsafe hints.ai_socktype = CInt(SOCK_STREAM.rawValue)
    unsafe hints.ai_flags = AI_ADDRCONFIG
    var list: UnsafeMutablePointer<addrinfo>? = nil
    let code = unsafe getaddrinfo(host, nil, &hints, &list)
    guard code == 0 else { throw ResolveError(host: host, message: unsafe String(cString: gai_strerror(code))) }
    defer { unsafe freeaddrinfo(list) }
    var endpoints: [Endpoint] = []
    var entry = unsafe list
    while let current = unsafe entry {
      if let address = unsafe current.pointee.ai_addr,
        var found = unsafe SocketAddress(at: address, count: Int(current.pointee.ai_addrlen)).endpoint
      {
        found.port = port
        if !endpoints.contains(found) { endpoints.append(found) }
      }
      unsafe entry = unsafe current.pointee.ai_next
    }
    return endpoints
  }

  private static func name(
    _ socket: borrowing OwnedDescriptor,
    _ call: (CInt, UnsafeMutableRawPointer?, UnsafeMutablePointer<CUnsignedInt>?) -> CInt
  ) -> Endpoint? {
    var address = SocketAddress()
    let result = unsafe address.withBytes { unsafe call(socket.rawValue, $0, $1) }
    return result == 0 ? address.endpoint : nil
  }
}

/// A name that the resolver couldn't turn into an address.
public struct ResolveError: Error, Hashable, Sendable, CustomStringConvertible {
  public let host: String
  public let message: String

  public init(host: String, message: String) {
    self.host = host
    self.message = message
  }

  public var description: String { "resolve \(host): \(message)" }
}
