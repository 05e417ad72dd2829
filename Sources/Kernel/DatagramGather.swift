import CLinux
import Glibc
import Primitives

/// Sends datagrams that wait for one connected UDP socket: those of one size that follow each other by one system call,
/// which the kernel, or the network's hardware, takes apart again (UDP_SEGMENT, udp(7)).
///
/// One call for one run, and not sendmmsg(2) for several: that would tell of an error behind its first message only by
/// how many it sent, while an ICMP error is told once.
@safe public struct DatagramGather: ~Copyable {
  /// Datagrams in one system call: UDP_MAX_SEGMENTS before Linux 6.9.
  public static let limit = 64
  /// Bytes in one system call: the largest payload of UDP over IPv4.
  public static let byteLimit = 65_507

  private let vectors: UnsafeMutablePointer<iovec>

  public init() {
    unsafe vectors = .allocate(capacity: Self.limit)
  }

  deinit {
    unsafe vectors.deallocate()
  }

  /// What one system call came to. Datagrams that weren't sent found no room in the socket's send buffer.
  public struct Outcome: Equatable, Sendable {
    public let datagrams: Int
    public let bytes: Int
    public let isSent: Bool
  }

  /// Sends the first datagram of the queue, and with it those that can go along. They leave the queue in any case.
  ///
  /// - Parameters:
  ///   - queue: one datagram a slice, each with its reference; not empty.
  ///   - segmentLimit: datagrams of more bytes go one by one. Lowered where the kernel takes no run of such a size:
  ///     a packet would be larger than the MTU of the way, or the device completes no checksums.
  public borrowing func send(
    _ queue: inout RingQueue<Slice>, to socket: borrowing OwnedDescriptor, segmentLimit: inout Int,
    pool: inout SlabPool
  ) throws(SystemError) -> Outcome {
    while true {
      let (count, bytes) = gather(queue, segmentLimit, pool)
      let size = queue[0].count
      let sent = unsafe clinux_send_datagrams(
        socket.rawValue, vectors, CInt(count), count > 1 ? UInt16(size) : 0)
      if sent >= 0 {
        drop(count, of: &queue, pool: &pool)
        return Outcome(datagrams: count, bytes: bytes, isSent: true)
      }
      let code = clinux_errno()
      if code == EINTR { continue }
      if count > 1, [EINVAL, EMSGSIZE, EIO, EOPNOTSUPP].contains(code) {
        segmentLimit = size - 1
        continue
      }
      drop(count, of: &queue, pool: &pool)
      guard code == EAGAIN else { throw SystemError(call: "sendmsg", code: code) }
      return Outcome(datagrams: count, bytes: bytes, isSent: false)
    }
  }

  /// Sets the vectors of the next run: all of one size, but for the last one, which may be shorter.
  private borrowing func gather(
    _ queue: RingQueue<Slice>, _ segmentLimit: Int, _ pool: borrowing SlabPool
  ) -> (count: Int, bytes: Int) {
    let size = queue[0].count
    // An empty datagram is none of a run.
    let limit = size > 0 && size <= segmentLimit ? min(queue.count, Self.limit) : 1
    var count = 0
    var bytes = 0
    while count < limit {
      let slice = queue[count]
      guard count == 0 || (slice.count > 0 && slice.count <= size && bytes + slice.count <= Self.byteLimit) else {
        break
      }
      unsafe vectors[count] = unsafe iovec(iov_base: pool.pointer(to: slice), iov_len: slice.count)
      count += 1
      bytes += slice.count
      if slice.count < size { break }
    }
    return (count, bytes)
  }

  private borrowing func drop(_ count: Int, of queue: inout RingQueue<Slice>, pool: inout SlabPool) {
    for _ in 0..<count {
      if let slice = queue.popFirst() { pool.release(slice) }
    }
  }
}

extension Socket {
  /// Lets the kernel hand over datagrams of one size that came together by one read (UDP_GRO); see `receiveDatagrams`.
  ///
  /// - Returns: whether the kernel knows that, and with it UDP_SEGMENT, which is older: Linux 5.0.
  public static func joinDatagrams(_ socket: borrowing OwnedDescriptor) -> Bool {
    clinux_join_datagrams(socket.rawValue) == 0
  }

  /// Reads one datagram from a connected socket, or several that came together.
  ///
  /// - Parameter slice: room for 65,535 bytes, or what comes together may be cut.
  /// - Returns: `ended` for a datagram without payload; and the size of each but the last datagram, 0 for a single one.
  public static func receiveDatagrams(
    into slice: Slice, from socket: borrowing OwnedDescriptor, pool: borrowing SlabPool
  ) throws(SystemError) -> (transfer: Transfer, segmentSize: Int) {
    while true {
      var size: CUnsignedInt = 0
      let count = unsafe clinux_receive_datagrams(socket.rawValue, pool.pointer(to: slice), slice.count, &size)
      if let transfer = try OwnedDescriptor.transfer(count, "recvmsg") { return (transfer, Int(size)) }
    }
  }
}
