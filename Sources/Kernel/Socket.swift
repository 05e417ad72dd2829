import CLinux
import Glibc
import Primitives

/// Socket calls in terms of this package's values.
public enum Socket {
  /// A non-blocking TCP connection attempt; wait for `writable`, then ask `pendingError`.
  ///
  /// - Returns: the socket, and whether it is connected already.
  public static func connect(
    to endpoint: Endpoint, _ type: Kind = .stream, nonblocking: Bool = true
  ) throws(SystemError) -> OwnedDescriptor {
    let socket = try make(endpoint.address.family, type, nonblocking: nonblocking)
    var storage = sockaddr_storage()
    let size = unsafe fill(&storage, endpoint)
    do throws(SystemError) {
      try withAddress(&storage) { address throws(SystemError) in
        _ = try unsafe checked("connect", endpoint.description) { unsafe Glibc.connect(socket.rawValue, address, size) }
      }
    } catch {
      guard error.code == EINPROGRESS else { throw error }
    }
    return socket
  }

  public enum Kind: Sendable { case stream, datagram }

  public static func make(
    _ family: IPAddress.Family, _ kind: Kind, nonblocking: Bool = true
  ) throws(SystemError) -> OwnedDescriptor {
    let type = kind == .stream ? SOCK_STREAM : SOCK_DGRAM
    let flags = CInt(type.rawValue) | CInt(SOCK_CLOEXEC.rawValue) | (nonblocking ? CInt(SOCK_NONBLOCK.rawValue) : 0)
    return OwnedDescriptor(
      owning: try checked("socket") { Glibc.socket(family == .v4 ? AF_INET : AF_INET6, flags, 0) })
  }

  /// A raw socket for one IP protocol; needs CAP_NET_RAW.
  public static func raw(_ family: IPAddress.Family, ipProtocol: CInt) throws(SystemError) -> OwnedDescriptor {
    let flags = CInt(SOCK_RAW.rawValue) | CInt(SOCK_CLOEXEC.rawValue) | CInt(SOCK_NONBLOCK.rawValue)
    return OwnedDescriptor(
      owning: try checked("socket(SOCK_RAW)") { Glibc.socket(family == .v4 ? AF_INET : AF_INET6, flags, ipProtocol) })
  }

  /// Listens on a TCP endpoint. An IPv6 endpoint takes IPv4 connections as well if it is unspecified.
  public static func listen(on endpoint: Endpoint, backlog: CInt = 1024) throws(SystemError) -> OwnedDescriptor {
    let socket = try make(endpoint.address.family, .stream)
    try setOption(socket, SOL_SOCKET, SO_REUSEADDR, 1)
    if endpoint.address.family == .v6 {
      try setOption(socket, CInt(IPPROTO_IPV6.rawValue), IPV6_V6ONLY, endpoint.address.isUnspecified ? 0 : 1)
    }
    var storage = sockaddr_storage()
    let size = unsafe fill(&storage, endpoint)
    try withAddress(&storage) { address throws(SystemError) in
      _ = try unsafe checked("bind", endpoint.description) { unsafe bind(socket.rawValue, address, size) }
    }
    try checked("listen", endpoint.description) { Glibc.listen(socket.rawValue, backlog) }
    return socket
  }

  /// The next connection; `nil` when none waits.
  public static func accept(
    from listener: borrowing OwnedDescriptor
  ) throws(SystemError) -> (socket: OwnedDescriptor, peer: Endpoint)? {
    var storage = sockaddr_storage()
    var size = socklen_t(MemoryLayout<sockaddr_storage>.size)
    let fd = unsafe withUnsafeMutablePointer(to: &storage) { pointer in
      unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        unsafe accept4(listener.rawValue, $0, &size, CInt(SOCK_CLOEXEC.rawValue) | CInt(SOCK_NONBLOCK.rawValue))
      }
    }
    if fd < 0 {
      switch clinux_errno() {
      // accept(2): pending network errors of the new connection are like EAGAIN.
      case EAGAIN, EINTR, ECONNABORTED, EPROTO: return nil
      case let code: throw SystemError(call: "accept4", code: code)
      }
    }
    let socket = OwnedDescriptor(owning: fd)
    return (socket, endpoint(of: &storage) ?? Endpoint(IPAddress(v4: 0), 0))
  }

  /// The outcome of a connection attempt or the error that a socket holds; `nil` when there is none.
  public static func pendingError(_ socket: borrowing OwnedDescriptor) -> SystemError? {
    var code: CInt = 0
    guard unsafe clinux_option(socket.rawValue, SOL_SOCKET, SO_ERROR, &code) == 0 else { return .last("getsockopt") }
    return code == 0 ? nil : SystemError(call: "connect", code: code)
  }

  public static func localEndpoint(_ socket: borrowing OwnedDescriptor) -> Endpoint? {
    name(socket, getsockname)
  }

  public static func peerEndpoint(_ socket: borrowing OwnedDescriptor) -> Endpoint? {
    name(socket, getpeername)
  }

  /// No Nagle delay: small interactive payload never waits for a timer.
  public static func setNoDelay(_ socket: borrowing OwnedDescriptor) throws(SystemError) {
    try setOption(socket, CInt(IPPROTO_TCP.rawValue), TCP_NODELAY, 1)
  }

  /// Bytes that may wait unsent in the kernel before the socket stops being writable: keeps the queue where
  /// small traffic can still overtake.
  public static func setUnsentLimit(_ socket: borrowing OwnedDescriptor, bytes: CInt) throws(SystemError) {
    try setOption(socket, CInt(IPPROTO_TCP.rawValue), TCP_NOTSENT_LOWAT, bytes)
  }

  /// The kernel's own detection of a dead peer. Seconds, and probes until the connection is given up.
  public static func setKeepalive(
    _ socket: borrowing OwnedDescriptor, idle: CInt, interval: CInt, probes: CInt
  ) throws(SystemError) {
    try setOption(socket, SOL_SOCKET, SO_KEEPALIVE, 1)
    try setOption(socket, CInt(IPPROTO_TCP.rawValue), TCP_KEEPIDLE, idle)
    try setOption(socket, CInt(IPPROTO_TCP.rawValue), TCP_KEEPINTVL, interval)
    try setOption(socket, CInt(IPPROTO_TCP.rawValue), TCP_KEEPCNT, probes)
  }

  /// Milliseconds that sent data may stay unacknowledged (TCP_USER_TIMEOUT).
  public static func setUserTimeout(_ socket: borrowing OwnedDescriptor, milliseconds: CInt) throws(SystemError) {
    try setOption(socket, CInt(IPPROTO_TCP.rawValue), TCP_USER_TIMEOUT, milliseconds)
  }

  /// Ends the sending direction: the peer reads to the end.
  public static func finish(_ socket: borrowing OwnedDescriptor) {
    _ = shutdown(socket.rawValue, CInt(SHUT_WR))
  }

  /// Makes the coming close a reset (RST), so that the peer can't take a cut for the end.
  public static func resetOnClose(_ socket: borrowing OwnedDescriptor) {
    _ = clinux_reset_on_close(socket.rawValue)
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
    var storage = sockaddr_storage()
    let size = unsafe fill(&storage, endpoint)
    try withAddress(&storage) { address throws(SystemError) in
      _ = try unsafe checked("sendto", endpoint.description) {
        CInt(unsafe bytes.withUnsafeBytes { data in
          unsafe sendto(socket.rawValue, data.baseAddress, data.count, CInt(MSG_NOSIGNAL.rawValue), address, size)
        })
      }
    }
  }

  /// Receives a datagram and its source; `nil` when none waits.
  public static func receive(
    into bytes: inout MutableSpan<UInt8>, from socket: borrowing OwnedDescriptor
  ) throws(SystemError) -> (count: Int, source: Endpoint)? {
    var storage = sockaddr_storage()
    var size = socklen_t(MemoryLayout<sockaddr_storage>.size)
    let count = unsafe withUnsafeMutablePointer(to: &storage) { pointer in
      unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
        unsafe bytes.withUnsafeMutableBytes { buffer in
          unsafe recvfrom(socket.rawValue, buffer.baseAddress, buffer.count, 0, address, &size)
        }
      }
    }
    if count < 0 {
      switch clinux_errno() {
      case EAGAIN, EINTR: return nil
      case let code: throw SystemError(call: "recvfrom", code: code)
      }
    }
    return (count, endpoint(of: &storage) ?? Endpoint(IPAddress(v4: 0), 0))
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
      if let address = unsafe current.pointee.ai_addr, var found = unsafe endpoint(at: address) {
        found.port = port
        if !endpoints.contains(found) { endpoints.append(found) }
      }
      unsafe entry = unsafe current.pointee.ai_next
    }
    return endpoints
  }

  static func fill(_ storage: inout sockaddr_storage, _ endpoint: Endpoint) -> socklen_t {
    unsafe withUnsafeMutableBytes(of: &storage) { bytes in
      if endpoint.address.family == .v4 {
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = endpoint.port.bigEndian
        address.sin_addr.s_addr = UInt32(endpoint.address.value).bigEndian
        unsafe bytes.storeBytes(of: address, as: sockaddr_in.self)
        return socklen_t(MemoryLayout<sockaddr_in>.size)
      }
      var address = unsafe sockaddr_in6()
      unsafe address.sin6_family = sa_family_t(AF_INET6)
      unsafe address.sin6_port = endpoint.port.bigEndian
      let value = endpoint.address.value.bigEndian
      unsafe withUnsafeMutableBytes(of: &address.sin6_addr) { unsafe $0.storeBytes(of: value, as: UInt128.self) }
      unsafe bytes.storeBytes(of: address, as: sockaddr_in6.self)
      return socklen_t(MemoryLayout<sockaddr_in6>.size)
    }
  }

  static func withAddress<E: Error>(
    _ storage: inout sockaddr_storage, _ body: (UnsafePointer<sockaddr>) throws(E) -> Void
  ) throws(E) {
    try unsafe withUnsafePointer(to: &storage) { pointer throws(E) in
      try unsafe body(UnsafeRawPointer(pointer).assumingMemoryBound(to: sockaddr.self))
    }
  }

  static func endpoint(of storage: inout sockaddr_storage) -> Endpoint? {
    unsafe withUnsafePointer(to: &storage) { pointer in
      unsafe endpoint(at: UnsafeRawPointer(pointer).assumingMemoryBound(to: sockaddr.self))
    }
  }

  static func endpoint(at address: UnsafePointer<sockaddr>) -> Endpoint? {
    let raw = unsafe UnsafeRawPointer(address)
    switch unsafe CInt(address.pointee.sa_family) {
    case AF_INET:
      let v4 = unsafe raw.loadUnaligned(as: sockaddr_in.self)
      return Endpoint(IPAddress(v4: UInt32(bigEndian: v4.sin_addr.s_addr)), UInt16(bigEndian: v4.sin_port))
    case AF_INET6:
      // sockaddr_in6: family 2, port 2, flow 4, address 16 bytes.
      let port = unsafe UInt16(bigEndian: raw.loadUnaligned(fromByteOffset: 2, as: UInt16.self))
      let value = unsafe UInt128(bigEndian: raw.loadUnaligned(fromByteOffset: 8, as: UInt128.self))
      let address = IPAddress(v6: value)
      return Endpoint(address.isV4Mapped ? IPAddress(v4: UInt32(truncatingIfNeeded: value)) : address, port)
    default: return nil
    }
  }

  private static func name(
    _ socket: borrowing OwnedDescriptor,
    _ call: (CInt, UnsafeMutablePointer<sockaddr>?, UnsafeMutablePointer<socklen_t>?) -> CInt
  ) -> Endpoint? {
    var storage = sockaddr_storage()
    var size = socklen_t(MemoryLayout<sockaddr_storage>.size)
    let result = unsafe withUnsafeMutablePointer(to: &storage) { pointer in
      unsafe pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { unsafe call(socket.rawValue, $0, &size) }
    }
    return result == 0 ? endpoint(of: &storage) : nil
  }
}

/// A name that the resolver couldn't turn into an address.
public struct ResolveError: Error, Hashable, Sendable, CustomStringConvertible {
  public let host: String
  public let message: String

  public var description: String { "resolve \(host): \(message)" }
}
