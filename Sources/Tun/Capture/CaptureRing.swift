import Glibc
import Kernel
import Primitives
import Synchronization

/// What stands before a captured packet in the ring; the comment and the packet's bytes follow.
struct CaptureRecord: BitwiseCopyable {
  /// Since 1970.
  var nanoseconds: Int64 = 0
  /// Bytes that the packet had, and that were kept of it.
  var originalCount: UInt32 = 0
  var capturedCount: UInt32 = 0
  /// Bytes of payload of each segment, of a super-segment; 0 of any other packet.
  var segmentSize: UInt32 = 0
  var interface: UInt16 = 0
  var commentCount: UInt16 = 0
  var direction: UInt8 = 0
  /// 1: the transport's checksum isn't computed.
  var flags: UInt8 = 0

  static let partialChecksum: UInt8 = 1
}

/// The memory between threads that see packets and the one that writes them: a fixed ring of bytes.
///
/// Any number of threads put packets in, one takes them out. A lock is held to move an index, never while bytes are
/// copied; and nobody waits for room: what doesn't fit is the caller's to count.
/// Sendable because the indices are behind the lock, and a place in the ring belongs to who reserved it until it is
/// committed, and to the reader from then on until it is released.
@safe final class CaptureRing: @unchecked Sendable {
  private enum Phase: UInt32 { case reserved, ready, discarded }

  private struct Indices {
    /// Bytes that were ever reserved and released; their places are these modulo the capacity.
    var head = 0
    var tail = 0
    /// The reader sleeps and wants to be woken when a part of the ring is full.
    var isAsleep = false
  }

  /// Size and phase, before each place's content.
  private static let prefix = 8

  let capacity: Int
  let wakeup: Wakeup
  private let indices = Mutex(Indices())
  private let room: UnsafeMutableRawPointer

  /// - Parameter capacity: bytes; rounded up to a power of two of at least 64 KiB.
  init(capacity: Int) throws(SystemError) {
    var size = 64 << 10
    while size < capacity, size < 1 << 30 { size <<= 1 }
    self.capacity = size
    wakeup = try Wakeup()
    unsafe room = .allocate(byteCount: size, alignment: 64)
  }

  deinit {
    unsafe room.deallocate()
  }

  // MARK: In

  /// Takes a place for `count` bytes that lie in one piece.
  ///
  /// - Returns: where they are; `nil` if there is no room.
  func reserve(_ count: Int) -> Int? {
    let size = (count + Self.prefix + 7) & ~7
    var wakes = false
    let place: Int? = indices.withLock { indices in
      let start = indices.head & (capacity - 1)
      // What doesn't fit before the end begins anew at the front.
      let skipped = start + size > capacity ? capacity - start : 0
      guard size <= capacity, indices.head + skipped + size - indices.tail <= capacity else { return nil }
      if skipped > 0 { mark(start, size: skipped, .discarded) }
      indices.head += skipped
      let place = indices.head & (capacity - 1)
      mark(place, size: size, .reserved)
      indices.head += size
      if indices.isAsleep, indices.head - indices.tail > capacity / 4 {
        indices.isAsleep = false
        wakes = true
      }
      return place + Self.prefix
    }
    if wakes { wakeup.signal() }
    return place
  }

  /// Gives a reserved place to the reader, or lets go of it: the last one of all is free at once.
  func commit(_ place: Int, keep: Bool) {
    indices.withLock { indices in
      let size = Int(unsafe room.load(fromByteOffset: place - Self.prefix, as: UInt32.self))
      if !keep, (place - Self.prefix + size - indices.head) & (capacity - 1) == 0 {
        indices.head -= size
        return
      }
      unsafe room.storeBytes(
        of: (keep ? Phase.ready : .discarded).rawValue, toByteOffset: place - 4, as: UInt32.self)
    }
  }

  /// The bytes of a place, for who has it.
  @unsafe func bytes(at place: Int, count: Int) -> UnsafeMutableRawBufferPointer {
    unsafe UnsafeMutableRawBufferPointer(start: room + place, count: count)
  }

  private func mark(_ place: Int, size: Int, _ phase: Phase) {
    unsafe room.storeBytes(of: UInt32(truncatingIfNeeded: size), toByteOffset: place, as: UInt32.self)
    unsafe room.storeBytes(of: phase.rawValue, toByteOffset: place + 4, as: UInt32.self)
  }

  // MARK: Out

  /// The oldest place with content, and its bytes; those that were let go of are passed over. `nil` if there is none.
  func next() -> (place: Int, count: Int)? {
    indices.withLock { indices in
      while indices.tail < indices.head {
        let place = indices.tail & (capacity - 1)
        let size = Int(unsafe room.load(fromByteOffset: place, as: UInt32.self))
        switch Phase(rawValue: unsafe room.load(fromByteOffset: place + 4, as: UInt32.self)) {
        case .ready: return (place + Self.prefix, size - Self.prefix)
        case .discarded: indices.tail += size
        case .reserved, nil: return nil
        }
      }
      return nil
    }
  }

  /// Lets go of what `next` gave.
  func release(_ found: (place: Int, count: Int)) {
    indices.withLock { $0.tail += found.count + Self.prefix }
  }

  /// The reader is about to sleep: it is woken once a quarter of the ring is full, and looks by itself before that.
  func willSleep() {
    indices.withLock { $0.isAsleep = $0.head - $0.tail <= capacity / 4 }
  }

  var used: Int { indices.withLock { $0.head - $0.tail } }
}
