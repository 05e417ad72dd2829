import Primitives

/// Payload that was handed over and is not yet acknowledged: slices in stream order, never copied.
///
/// Owns one reference per slice. Positions are bytes behind the first unacknowledged one.
struct SendQueue {
  private var slices = RingQueue<Slice>()
  /// Bytes held.
  private(set) var count = 0

  // Where the last gather ended. New data leaves in order, so the next gather begins there and no walk is needed;
  // only retransmissions walk from the front.
  private var cursor = Cursor()

  private struct Cursor {
    var position = 0
    var index = 0
    var offset = 0
  }

  var isEmpty: Bool { count == 0 }

  /// Slices held: neighbours in memory count as one.
  var sliceCount: Int { slices.count }

  /// Takes over the caller's reference.
  mutating func append(_ slice: Slice, pool: inout SlabPool) {
    guard !slice.isEmpty else {
      pool.release(slice)
      return
    }
    count += slice.count
    if let last = slices.last, last.isFollowed(by: slice) {
      slices[slices.count - 1].length += slice.length
      pool.release(slice)
    } else {
      slices.append(slice)
    }
  }

  /// Lets go of the first `bytes` bytes.
  ///
  /// - Parameter bytes: at most `count`.
  mutating func acknowledge(_ bytes: Int, pool: inout SlabPool) {
    var left = min(bytes, count)
    count -= left
    cursor.position -= left
    while left > 0, let first = slices.first {
      if first.count <= left {
        left -= first.count
        pool.release(first)
        _ = slices.popFirst()
        cursor.index -= 1
      } else {
        slices[0] = first.dropping(left)
        if cursor.index == 0 { cursor.offset -= left }
        left = 0
      }
    }
    if cursor.position <= 0 { cursor = Cursor() }
  }

  /// Appends slices of up to `limit` bytes from `position` on to `payload`, each with a reference of its own.
  ///
  /// - Returns: how many bytes these are; fewer than `limit` at the end of the queue or when `payload`
  ///   would hold more than `maximumSlices`.
  mutating func gather(
    from position: Int, limit: Int, maximumSlices: Int, into payload: inout [Slice], pool: inout SlabPool
  ) -> Int {
    seek(position)
    var gathered = 0
    while gathered < limit, cursor.index < slices.count {
      let slice = slices[cursor.index]
      let available = slice.count - cursor.offset
      guard available > 0 else {
        cursor.index += 1
        cursor.offset = 0
        continue
      }
      guard payload.count < maximumSlices else { break }
      let taken = min(available, limit - gathered)
      let part = slice.range(from: cursor.offset, count: taken)
      pool.retain(part)
      payload.append(part)
      gathered += taken
      cursor.offset += taken
    }
    cursor.position = position + gathered
    return gathered
  }

  mutating func removeAll(pool: inout SlabPool) {
    while let slice = slices.popFirst() { pool.release(slice) }
    count = 0
    cursor = Cursor()
  }

  private mutating func seek(_ position: Int) {
    if cursor.position == position { return }
    cursor = Cursor(position: position)
    var left = position
    while cursor.index < slices.count, left >= slices[cursor.index].count {
      left -= slices[cursor.index].count
      cursor.index += 1
    }
    cursor.offset = left
  }
}
