import Primitives

/// Payload that arrived ahead of its turn, sorted and without overlap. Owns one reference per segment.
struct ReceiveQueue {
  private struct Segment {
    var start: SequenceNumber
    var slice: Slice
    var end: SequenceNumber { start + slice.count }
  }

  private var segments: [Segment] = []
  /// The segment that came last: its block is reported first (RFC 2018 section 4).
  private var mostRecent = SequenceNumber(0)
  /// Bytes held.
  private(set) var byteCount = 0

  var isEmpty: Bool { segments.isEmpty }

  var count: Int { segments.count }

  /// Keeps what is new of a segment, with references of its own. What is held already wins over what comes later.
  ///
  /// - Parameter limit: segments held at once. When it is reached, the one furthest from its turn has to go.
  /// - Returns: whether a part was kept.
  mutating func insert(_ slice: Slice, at sequence: SequenceNumber, limit: Int, pool: inout SlabPool) -> Bool {
    var start = sequence
    var end = sequence + slice.count
    var index = 0
    while index < segments.count, segments[index].end <= start { index += 1 }
    if index < segments.count, segments[index].start <= start {
      start = segments[index].end
      index += 1
    }
    while index < segments.count, segments[index].end <= end, start < end {
      drop(at: index, pool: &pool)
    }
    if index < segments.count, segments[index].start < end { end = segments[index].start }
    guard start < end else { return false }
    if segments.count >= limit {
      guard index < segments.count else { return false }
      drop(at: segments.count - 1, pool: &pool)
    }
    let part = slice.range(from: start - sequence, count: end - start)
    pool.retain(part)
    // A small segment that waits must not hold on to a whole slab.
    let kept = pool.compact(part)
    if segments.capacity == 0 { segments.reserveCapacity(limit) }
    segments.insert(Segment(start: start, slice: kept), at: index)
    byteCount += kept.count
    mostRecent = start
    return true
  }

  /// Whether all of a range is held.
  func holds(_ start: SequenceNumber, _ end: SequenceNumber) -> Bool {
    var isHeld = false
    scanBlocks { isHeld = isHeld || ($0 <= start && end <= $1) }
    return isHeld
  }

  /// Takes out the segment whose turn has come; the caller gets its reference. Drops what is older than `next`.
  mutating func popFirst(at next: SequenceNumber, pool: inout SlabPool) -> Slice? {
    while let first = segments.first {
      if first.start > next { return nil }
      if first.end <= next {
        drop(at: 0, pool: &pool)
        continue
      }
      segments.removeFirst()
      byteCount -= first.slice.count
      return first.slice.dropping(next - first.start)
    }
    return nil
  }

  /// Calls `body` with up to `limit` contiguous blocks, first the one that changed last.
  func forEachBlock(limit: Int, _ body: (SequenceNumber, SequenceNumber) -> Void) {
    guard limit > 0, !segments.isEmpty else { return }
    var reported = 0
    scanBlocks { start, end in
      guard start <= mostRecent, mostRecent < end else { return }
      body(start, end)
      reported += 1
    }
    scanBlocks { start, end in
      guard reported < limit, !(start <= mostRecent && mostRecent < end) else { return }
      body(start, end)
      reported += 1
    }
  }

  mutating func removeAll(pool: inout SlabPool) {
    for segment in segments { pool.release(segment.slice) }
    segments.removeAll()
    byteCount = 0
  }

  private func scanBlocks(_ body: (SequenceNumber, SequenceNumber) -> Void) {
    var index = 0
    while index < segments.count {
      let start = segments[index].start
      var end = segments[index].end
      index += 1
      while index < segments.count, segments[index].start == end {
        end = segments[index].end
        index += 1
      }
      body(start, end)
    }
  }

  private mutating func drop(at index: Int, pool: inout SlabPool) {
    let segment = segments.remove(at: index)
    byteCount -= segment.slice.count
    pool.release(segment.slice)
  }
}
