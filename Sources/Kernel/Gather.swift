import CLinux
import Primitives

/// Room for the vectors of one gathered system call.
@safe public struct Gather: ~Copyable {
  /// Vectors in one system call. The kernel takes up to 1024 (IOV_MAX).
  public static let limit = 512

  private let vectors: UnsafeMutablePointer<iovec>

  public init() {
    unsafe vectors = .allocate(capacity: Self.limit)
  }

  deinit {
    unsafe vectors.deallocate()
  }

  /// One gathered send of the queue's head on a stream socket; what the kernel took leaves the queue.
  public borrowing func send(
    _ queue: inout SliceQueue, to socket: borrowing OwnedDescriptor, pool: inout SlabPool
  ) throws(SystemError) -> Transfer {
    let used = min(queue.count, Self.limit)
    guard used > 0 else { return .wouldBlock }
    for index in 0..<used {
      let slice = queue[index]
      unsafe vectors[index] = unsafe iovec(iov_base: pool.pointer(to: slice), iov_len: slice.count)
    }
    while true {
      let sent = unsafe clinux_send(socket.rawValue, vectors, CInt(used))
      guard let transfer = try OwnedDescriptor.transfer(sent, "sendmsg") else { continue }
      if case .moved(let bytes) = transfer { queue.drop(bytes, pool: &pool) }
      return transfer
    }
  }
}
