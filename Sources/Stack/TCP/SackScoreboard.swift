/// What the peer reported to hold beyond the cumulative acknowledgement (RFC 2018, RFC 6675): sorted, disjoint ranges.
struct SackScoreboard {
  struct Block: Equatable {
    var start: SequenceNumber
    var end: SequenceNumber
  }

  /// Ranges kept at once. A report beyond it is forgotten, which costs a retransmission and nothing else.
  static let limit = 32

  private(set) var blocks: [Block] = []

  var isEmpty: Bool { blocks.isEmpty }

  /// The end of the highest range.
  var highest: SequenceNumber? { blocks.last?.end }

  /// Bytes that the peer holds beyond the cumulative acknowledgement.
  var bytes: Int {
    var sum = 0
    for block in blocks { sum += block.end - block.start }
    return sum
  }

  /// - Returns: whether the report told something new.
  @discardableResult
  mutating func insert(_ start: SequenceNumber, _ end: SequenceNumber) -> Bool {
    guard start < end else { return false }
    var merged = Block(start: start, end: end)
    var index = 0
    while index < blocks.count, blocks[index].end < start { index += 1 }
    if index < blocks.count, blocks[index].start <= start, blocks[index].end >= end { return false }
    while index < blocks.count, blocks[index].start <= merged.end {
      merged.start = .earlier(merged.start, blocks[index].start)
      merged.end = .later(merged.end, blocks[index].end)
      blocks.remove(at: index)
    }
    guard blocks.count < Self.limit else { return false }
    if blocks.capacity == 0 { blocks.reserveCapacity(Self.limit) }
    blocks.insert(merged, at: index)
    return true
  }

  /// Forgets what lies below the cumulative acknowledgement.
  mutating func acknowledge(_ una: SequenceNumber) {
    while let first = blocks.first, first.start < una {
      if first.end <= una {
        blocks.removeFirst()
      } else {
        blocks[0].start = una
      }
    }
  }

  mutating func removeAll() {
    blocks.removeAll(keepingCapacity: true)
  }

  /// The first range at or behind `from` and below `limit` that the peer doesn't hold.
  func nextHole(from: SequenceNumber, below limit: SequenceNumber) -> Block? {
    var start = from
    for block in blocks {
      if block.end <= start { continue }
      if block.start > start {
        let end = SequenceNumber.earlier(block.start, limit)
        return start < end ? Block(start: start, end: end) : nil
      }
      start = block.end
    }
    return start < limit ? Block(start: start, end: limit) : nil
  }

  /// Bytes reported in `from ..< to`.
  func bytes(from: SequenceNumber, to: SequenceNumber) -> Int {
    var sum = 0
    for block in blocks {
      sum += max(0, SequenceNumber.earlier(block.end, to) - SequenceNumber.later(block.start, from))
    }
    return sum
  }
}
