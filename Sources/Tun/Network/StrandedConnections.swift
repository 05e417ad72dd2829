internal import CLinux
import Glibc
import Kernel
import Primitives

/// TCP connections of this host that lead into a device which is gone, and would wait for it for ever.
///
/// A TUN device goes with the process that held it, and takes its addresses and routes along. The kernel leaves the
/// connections that ran over it as they are: a program that only listens hears nothing any more, not even an error.
/// So whoever makes the device anew ends them first, by sock_diag(7).
public enum StrandedConnections {
  /// Ends the connections of this network namespace whose peer is in one of `prefixes`: their programs see
  /// ECONNABORTED at once. To be called while no device has these addresses, or connections that live end as well.
  ///
  /// Connections that are being opened are left: their SYN is sent again, and finds the new device. Needs
  /// CAP_NET_ADMIN, and a kernel with CONFIG_INET_DIAG_DESTROY; without it, what a program sends is still answered with
  /// a reset once the device is there.
  /// - Returns: how many there were.
  @discardableResult
  public static func end(to prefixes: [IPPrefix]) throws(TunError) -> Int {
    do throws(SystemError) {
      let socket = OwnedDescriptor(
        owning: try checked("socket(NETLINK_SOCK_DIAG)") {
          clinux_socket(AF_NETLINK, CInt(SOCK_RAW.rawValue), DiagnosisRequest.family)
        })
      // The kernel answers within the call: blocking is for the case that it is short of memory.
      try socket.setNonblocking(false)
      var ended = 0
      for family in [UInt8(AF_INET), UInt8(AF_INET6)] {
        let list = DiagnosisRequest(family: family, type: .list, identity: nil)
        var found: [[UInt8]] = []
        try exchange(list, on: socket) { entry in
          guard let peer = entry.peer, prefixes.contains(where: { $0.contains(peer) }) else { return }
          found.append(entry.identity)
        }
        for identity in found {
          do throws(SystemError) {
            try exchange(DiagnosisRequest(family: family, type: .destroy, identity: identity), on: socket) { _ in }
            ended += 1
          } catch {
            // It ended by itself meanwhile.
            guard error.code == ENOENT else { throw error }
          }
        }
      }
      return ended
    } catch {
      throw TunError(error)
    }
  }

  /// Sends a request and reads to the end of the answer.
  private static func exchange(
    _ request: DiagnosisRequest, on socket: borrowing OwnedDescriptor, _ body: (DiagnosisEntry) -> Void
  ) throws(SystemError) {
    guard case .moved = try socket.write(request.bytes.span) else { throw SystemError(call: "sock_diag", code: EAGAIN) }
    var buffer = [UInt8](repeating: 0, count: 64 << 10)
    while true {
      var room = buffer.mutableSpan
      guard case .moved(let count) = try socket.read(into: &room) else {
        throw SystemError(call: "sock_diag", code: EPROTO)
      }
      let answer = buffer.span.extracting(0..<count)
      var messages = NetlinkMessages()
      while let (type, range) = messages.next(in: answer) {
        let message = answer.extracting(range)
        switch Int32(type) {
        case DiagnosisRequest.endType: return
        case DiagnosisRequest.errorType:
          // 0 is the acknowledgement that was asked for.
          let code = message.count >= 4 ? Int32(bitPattern: message.native32(0)) : -EPROTO
          guard code == 0 else { throw SystemError(call: "sock_diag", code: -code) }
          return
        case DiagnosisRequest.listType:
          if let entry = DiagnosisEntry(parsing: message) { body(entry) }
        default: break
        }
      }
    }
  }
}

/// `struct nlmsghdr` before `struct inet_diag_req_v2` (linux/netlink.h, linux/inet_diag.h), in the host's byte order.
private struct DiagnosisRequest {
  enum Kind { case list, destroy }

  /// NETLINK_SOCK_DIAG of linux/netlink.h.
  static let family: CInt = 4
  /// NLMSG_ERROR and NLMSG_DONE of linux/netlink.h.
  static let (errorType, endType): (Int32, Int32) = (2, 3)
  /// SOCK_DIAG_BY_FAMILY and SOCK_DESTROY of linux/sock_diag.h.
  static let listType: Int32 = 20
  private static let destroyType: Int32 = 21
  /// NLM_F_REQUEST, NLM_F_ROOT | NLM_F_MATCH and NLM_F_ACK of linux/netlink.h.
  private static let (request, dump, acknowledged): (UInt16, UInt16, UInt16) = (0x001, 0x300, 0x004)
  static let identitySize = 48
  private static let size = 72
  /// TCP_ESTABLISHED, TCP_FIN_WAIT1, TCP_FIN_WAIT2 and TCP_CLOSE_WAIT of net/tcp_states.h, a bit each.
  private static let states: UInt32 = 1 << 1 | 1 << 4 | 1 << 5 | 1 << 8

  let bytes: [UInt8]

  init(family: UInt8, type: Kind, identity: [UInt8]?) {
    let flags = Self.request | (type == .list ? Self.dump : Self.acknowledged)
    var bytes: [UInt8] = []
    bytes.reserveCapacity(Self.size)
    bytes.append(native: UInt32(Self.size))
    bytes.append(native: UInt16(type == .list ? Self.listType : Self.destroyType))
    bytes.append(native: flags)
    bytes.append(native: UInt32(1))
    bytes.append(native: UInt32(0))
    bytes += [family, UInt8(IPPROTO_TCP), 0, 0]
    bytes.append(native: Self.states)
    bytes += identity ?? [UInt8](repeating: 0, count: Self.identitySize)
    self.bytes = bytes
  }
}

/// `struct inet_diag_msg`: four bytes of states and timers, and then the socket's identity, with ports and addresses in
/// network order.
private struct DiagnosisEntry {
  /// The remote address; an IPv4 one also for an IPv6 socket that speaks IPv4 (RFC 4291 section 2.5.5.2).
  let peer: IPAddress?
  /// `struct inet_diag_sockid`, by which the kernel finds the socket again, and no other.
  let identity: [UInt8]

  init?(parsing bytes: Span<UInt8>) {
    guard bytes.count >= 4 + DiagnosisRequest.identitySize else { return nil }
    let isV4 = bytes[0] == UInt8(AF_INET)
    let identity = bytes.extracting(4..<4 + DiagnosisRequest.identitySize)
    // Two ports, the local address and then the remote one, each with room for an IPv6 address.
    let address = IPAddress(bytes: identity.extracting(20..<20 + (isV4 ? 4 : 16)))
    peer = address.map { $0.isV4Mapped ? IPAddress(v4: UInt32(truncatingIfNeeded: $0.value)) : $0 }
    var copy: [UInt8] = []
    for index in identity.indices { copy.append(identity[index]) }
    self.identity = copy
  }
}
