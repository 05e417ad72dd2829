import CLinux
import Glibc
import Primitives

/// Slices that leave by gathered writes, in order; each holds a reference until its last byte was taken.
@safe public struct Gather: ~Copyable {
  /// Vectors in one system call. The kernel takes up to 1024 (IOV_MAX).
  public static let vectorLimit = 512

  private var slices: RingQueue<Slice>
  private let vectors: UnsafeMutablePointer<iovec>
  /// Bytes that wait.
  public private(set) var byteCount = 0

  public init() {
    slices = RingQueue(minimumCapacity: 1024)
    unsafe vectors = .allocate(capacity: Self.vectorLimit)
  }

  deinit {
    unsafe vectors.deallocate()
  }

  public var isEmpty: Bool { slices.isEmpty }
  public var count: Int { slices.count }

  /// Takes over the reference that the caller holds.
  public mutating func append(_ slice: Slice, pool: inout SlabPool) {
    guard !slice.isEmpty else {
      pool.release(slice)
      return
    }
    byteCount += slice.count
    // Neighbours in memory need one vector only.
    if let last = slices.last, last.isFollowed(by: slice) {
      slices[slices.count - 1] = Slice(slab: last.slab, offset: Int(last.offset), count: last.count + slice.count)
      pool.release(slice)
    } else {
      slices.append(slice)
    }
  }

  /// One gathered send on a stream socket; what the kernel took is dropped and released.
  ///
  /// - Returns: `.wouldBlock` if nothing was taken, `.moved` otherwise.
  public mutating func send(to socket: borrowing OwnedDescriptor, pool: inout SlabPool) throws(SystemError) -> Transfer {
    guard !slices.isEmpty else { return .wouldBlock }
    let used = fillVectors(pool: pool)
    while true {
      let sent = unsafe clinux_send(socket.rawValue, vectors, CInt(used))
      guard let transfer = try OwnedDescriptor.transfer(sent, "sendmsg") else { continue }
      if case .moved(let bytes) = transfer { drop(bytes, pool: &pool) }
      return transfer
    }
  }

  /// One gathered write of everything as a single packet, to a packet device. All slices are released.
  public mutating func writePacket(
    to device: borrowing OwnedDescriptor, pool: inout SlabPool
  ) throws(SystemError) -> Transfer {
    let used = fillVectors(pool: pool)
    defer { removeAll(pool: &pool) }
    while true {
      let count = unsafe writev(device.rawValue, vectors, CInt(used))
      if let transfer = try OwnedDescriptor.transfer(count, "writev") { return transfer }
    }
  }

  public mutating func removeAll(pool: inout SlabPool) {
    while let slice = slices.popFirst() { pool.release(slice) }
    byteCount = 0
  }

  /// Hands back the first slice, with its reference.
  public mutating func popFirst() -> Slice? {
    guard let slice = slices.popFirst() else { return nil }
    byteCount -= slice.count
    return slice
  }

  private func fillVectors(pool: borrowing SlabPool) -> Int {
    let used = min(slices.count, Self.vectorLimit)
    for index in 0..<used {
      let slice = slices[index]
      unsafe vectors[index] = unsafe iovec(iov_base: pool.pointer(to: slice), iov_len: slice.count)
    }
    return used
  }

  private mutating func drop(_ bytes: Int, pool: inout SlabPool) {
    var left = bytes
    byteCount -= bytes
    while left > 0, let first = slices.first {
      if left >= first.count {
        left -= first.count
        pool.release(slices.popFirst()!)
      } else {
        slices[0] = first.dropping(left)
        left = 0
      }
    }
  }
}
