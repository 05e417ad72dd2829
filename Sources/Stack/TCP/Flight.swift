import Primitives

/// What was sent and isn't acknowledged, una ..< nxt, in pieces that share a fate: when they were sent last, and what
/// became of them. The scoreboard of RFC 6675 and the transmission times of RFC 8985 in one.
///
/// What leaves at the same moment is one piece, and so is what the peer holds without a gap: a bulk transfer is a few
/// pieces, however small its segments.
struct Flight {
  enum Fate {
    case sent
    /// The peer reported to hold it (RFC 2018). It may still take that back (section 8).
    case held
    /// To be sent again.
    case lost
  }

  struct Piece: Equatable {
    var start: SequenceNumber
    var end: SequenceNumber
    var sentAt: Instant
    var fate = Fate.sent
    /// Whether it was sent more than once, so that an acknowledgement doesn't tell which transmission arrived (Karn).
    var isRetransmitted = false

    var count: Int { end - start }

    /// Whether it was sent after another: RACK_sent_after of RFC 8985 section 6.2.
    func wasSent(after sentAt: Instant, _ end: SequenceNumber) -> Bool {
      self.sentAt > sentAt || (self.sentAt == sentAt && self.end > end)
    }
  }

  /// Pieces from which on nothing is split for a report of the peer, which costs a retransmission, and what is sent
  /// joins the last piece, which makes that look younger. Retransmissions add as many again at most.
  static let limit = 512

  private var pieces = RingQueue<Piece>()
  private(set) var heldBytes = 0
  private(set) var lostBytes = 0

  var count: Int { pieces.count }

  subscript(index: Int) -> Piece { pieces[index] }

  // MARK: Sending

  /// Books what was sent for the first time; follows what was sent before.
  mutating func append(_ start: SequenceNumber, _ end: SequenceNumber, at now: Instant) {
    let last = pieces.count - 1
    if last >= 0, pieces[last].fate == .sent,
      pieces.count >= Self.limit || (pieces[last].sentAt == now && !pieces[last].isRetransmitted)
    {
      pieces[last].end = end
      pieces[last].sentAt = now
    } else {
      pieces.append(Piece(start: start, end: end, sentAt: now))
    }
  }

  /// Books what was sent again.
  mutating func resent(_ start: SequenceNumber, _ end: SequenceNumber, at now: Instant) {
    var index = firstIndex(behind: start)
    while index < pieces.count, pieces[index].start < end {
      guard pieces[index].fate != .held else {
        index += 1
        continue
      }
      index = cut(index, start, end)
      setFate(.sent, at: index)
      pieces[index].sentAt = now
      pieces[index].isRetransmitted = true
      index = join(index) + 1
    }
  }

  /// The first piece to be sent again.
  var firstLost: Piece? {
    guard lostBytes > 0 else { return nil }
    for index in 0..<pieces.count where pieces[index].fate == .lost { return pieces[index] }
    return nil
  }

  // MARK: Acknowledgements

  /// Forgets what lies below the cumulative acknowledgement.
  mutating func acknowledge(_ una: SequenceNumber, delivery: inout Delivery) {
    while let first = pieces.first, first.start < una {
      let end = SequenceNumber.earlier(first.end, una)
      if first.fate != .held { delivery.note(first, first.start, end) }
      count(first.fate, -(end - first.start))
      if first.end <= una {
        _ = pieces.popFirst()
      } else {
        pieces[0].start = una
      }
    }
  }

  /// Notes a range that the peer reported to hold.
  mutating func hold(_ start: SequenceNumber, _ end: SequenceNumber, delivery: inout Delivery) {
    var index = firstIndex(behind: start)
    while index < pieces.count, pieces[index].start < end {
      let piece = pieces[index]
      let from = SequenceNumber.later(piece.start, start)
      let to = SequenceNumber.earlier(piece.end, end)
      let splits = (from > piece.start ? 1 : 0) + (to < piece.end ? 1 : 0)
      guard piece.fate != .held, splits == 0 || pieces.count + splits <= Self.limit else {
        index += 1
        continue
      }
      delivery.note(piece, from, to)
      index = cut(index, from, to)
      setFate(.held, at: index)
      index = join(index) + 1
    }
  }

  // MARK: Losses

  mutating func lose(at index: Int) {
    setFate(.lost, at: index)
  }

  /// Counts the first bytes as lost, where no report of the peer says more.
  mutating func loseFirst(_ bytes: Int) {
    guard let first = pieces.first, first.fate == .sent else { return }
    _ = cut(0, first.start, first.start + bytes)
    setFate(.lost, at: 0)
  }

  /// Counts everything as lost that the peer didn't report to hold.
  ///
  /// - Parameter isForgetful: whether the reports aren't believed any more.
  mutating func loseAll(isForgetful: Bool) {
    var index = 0
    while index < pieces.count {
      if isForgetful || pieces[index].fate != .held { setFate(.lost, at: index) }
      index = join(index) + 1
    }
  }

  /// Takes back that anything is lost.
  mutating func reviveAll() {
    guard lostBytes > 0 else { return }
    for index in 0..<pieces.count where pieces[index].fate == .lost { setFate(.sent, at: index) }
  }

  // MARK: Parts

  /// The first piece that ends behind `number`.
  private func firstIndex(behind number: SequenceNumber) -> Int {
    var low = 0
    var high = pieces.count
    while low < high {
      let middle = (low + high) / 2
      if pieces[middle].end > number { high = middle } else { low = middle + 1 }
    }
    return low
  }

  /// Splits a piece, so that what is returned lies in `start ..< end` as far as it lay in it before.
  private mutating func cut(_ index: Int, _ start: SequenceNumber, _ end: SequenceNumber) -> Int {
    var index = index
    if pieces[index].start < start {
      var head = pieces[index]
      head.end = start
      pieces[index].start = start
      pieces.insert(head, at: index)
      index += 1
    }
    if pieces[index].end > end {
      var tail = pieces[index]
      tail.start = end
      pieces[index].end = end
      pieces.insert(tail, at: index + 1)
    }
    return index
  }

  /// Joins a piece with its neighbours if they share its fate; returns where it went.
  private mutating func join(_ index: Int) -> Int {
    var index = index
    if index + 1 < pieces.count, canJoin(pieces[index], pieces[index + 1]) {
      let tail = pieces.remove(at: index + 1)
      pieces[index].end = tail.end
      pieces[index].isRetransmitted = pieces[index].isRetransmitted || tail.isRetransmitted
    }
    if index > 0, canJoin(pieces[index - 1], pieces[index]) {
      let tail = pieces.remove(at: index)
      index -= 1
      pieces[index].end = tail.end
      pieces[index].isRetransmitted = pieces[index].isRetransmitted || tail.isRetransmitted
    }
    return index
  }

  private func canJoin(_ left: Piece, _ right: Piece) -> Bool {
    guard left.fate == right.fate else { return false }
    return left.fate != .sent || (left.sentAt == right.sentAt && left.isRetransmitted == right.isRetransmitted)
  }

  private mutating func setFate(_ fate: Fate, at index: Int) {
    let bytes = pieces[index].count
    count(pieces[index].fate, -bytes)
    count(fate, bytes)
    pieces[index].fate = fate
  }

  private mutating func count(_ fate: Fate, _ bytes: Int) {
    switch fate {
    case .sent: break
    case .held: heldBytes += bytes
    case .lost: lostBytes += bytes
    }
  }
}

/// What one acknowledgement told of the flight.
struct Delivery {
  /// Bytes that the peer is now known to hold and wasn't before.
  var bytes = 0
  /// Of these, the piece that was sent last.
  private(set) var newest: Flight.Piece?
  /// When the youngest of those that were sent but once was sent.
  private(set) var sentOnceAt: Instant?
  /// The end of the lowest of them.
  private(set) var lowestSentOnce: SequenceNumber?

  mutating func note(_ piece: Flight.Piece, _ start: SequenceNumber, _ end: SequenceNumber) {
    var part = piece
    part.start = start
    part.end = end
    bytes += part.count
    if let newest, !part.wasSent(after: newest.sentAt, newest.end) {} else { newest = part }
    guard !piece.isRetransmitted else { return }
    sentOnceAt = max(sentOnceAt ?? piece.sentAt, piece.sentAt)
    lowestSentOnce = lowestSentOnce.map { .earlier($0, end) } ?? end
  }
}
