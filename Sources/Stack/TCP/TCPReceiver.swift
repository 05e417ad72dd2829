import Packet
import Primitives

/// The receiving half of a connection: what comes next, what may come, and what came too early.
struct TCPReceiver {
  /// The next sequence number expected.
  private(set) var next: SequenceNumber
  /// The right edge of the largest window that was advertised: never moves back (RFC 9293 section 3.8.6.2.1).
  private(set) var advertisedEdge: SequenceNumber
  /// As far as the owner has given credit.
  private(set) var creditEdge: SequenceNumber
  /// The window as the peer knows it, from the last segment sent.
  private var lastWindow = 0
  private var lastNext: SequenceNumber
  var windowShift = 0
  /// Bytes in events that the owner hasn't taken yet.
  var undelivered = 0
  var queue = ReceiveQueue()
  /// What arrived twice, until the peer is told.
  private var duplicate: SACKBlocks.Block?
  /// The sequence number of the peer's FIN, once seen.
  private(set) var finishSequence: SequenceNumber?
  private(set) var isFinished = false

  /// - Parameter next: the number behind the peer's SYN.
  init(next: SequenceNumber, credit: Int) {
    self.next = next
    lastNext = next
    advertisedEdge = next
    creditEdge = next + credit
  }

  /// What of the owner's credit is left behind `next`; below zero if credit was taken back.
  var credit: Int { creditEdge - next }

  // MARK: The window

  /// - Returns: whether the peer should hear of it at once: the window opens from zero, or by two segments or a quarter.
  mutating func setCredit(_ bytes: Int, maximumWindow: Int, maximumSegment: Int) -> Bool {
    // Credit beyond the largest window isn't lost: it opens as the stream advances. 2³⁰ keeps the edge comparable.
    creditEdge = next + (min(max(0, bytes), 1 << 30) - undelivered)
    guard !isFinished else { return false }
    let open = window(maximum: maximumWindow)
    let known = max(0, lastWindow - (next - lastNext))
    if known >> windowShift == 0 { return open >> windowShift > 0 }
    return open - known >= max(2 * maximumSegment, open / 4)
  }

  /// Bytes that the peer may send behind `next`.
  func window(maximum: Int) -> Int {
    min(max(0, credit), maximum)
  }

  /// The field of a header that is about to leave, and the note that the peer will know it.
  ///
  /// - Parameter isSynchronize: in a SYN the window is never scaled (RFC 7323 section 2.2).
  mutating func advertise(maximum: Int, isSynchronize: Bool) -> UInt16 {
    let shift = isSynchronize ? 0 : windowShift
    let field = min(window(maximum: maximum) >> shift, 65_535)
    lastWindow = field << shift
    lastNext = next
    advertisedEdge = .later(advertisedEdge, next + lastWindow)
    return UInt16(field)
  }

  /// How much the peer was allowed to send behind `next` and may still believe.
  var acceptableWindow: Int { max(0, advertisedEdge - next) }

  // MARK: Payload

  /// What is to be done with the payload of a segment.
  enum Verdict: Equatable {
    /// Nothing of it is new, or nothing fits.
    case nothing
    /// These bytes of the payload come next.
    case deliver(from: Int, count: Int)
    /// These bytes come later; they start at the given number.
    case keep(from: Int, count: Int, at: SequenceNumber)
  }

  /// Cuts a segment to what is new and allowed, and notes its FIN and what came twice.
  mutating func judge(_ sequence: SequenceNumber, count: Int, hasFinish: Bool) -> Verdict {
    if hasFinish, finishSequence == nil, !isFinished {
      let finish = sequence + count
      if finish >= next, finish <= advertisedEdge { finishSequence = finish }
    }
    if sequence < next { noteDuplicate(sequence, .earlier(sequence + count, next)) }
    let start = SequenceNumber.later(sequence, next)
    var end = SequenceNumber.earlier(sequence + count, advertisedEdge)
    if let finishSequence { end = .earlier(end, finishSequence) }
    guard start < end, !isFinished else { return .nothing }
    let offset = start - sequence
    return start == next
      ? .deliver(from: offset, count: end - start) : .keep(from: offset, count: end - start, at: start)
  }

  mutating func advance(_ count: Int) {
    next += count
    undelivered += count
  }

  // MARK: Selective acknowledgements

  /// Notes what arrived for the second time: the peer hears of it once (RFC 2883 section 4).
  mutating func noteDuplicate(_ start: SequenceNumber, _ end: SequenceNumber) {
    guard start < end else { return }
    duplicate = SACKBlocks.Block(start: start.value, end: end.value)
  }

  /// Whether the next acknowledgement has more to tell than its number.
  var hasSelectiveReport: Bool { duplicate != nil || !queue.isEmpty }

  /// The blocks of an acknowledgement: first what came twice, then what came last, then the others.
  mutating func takeSelectiveReport(limit: Int) -> SACKBlocks {
    var blocks = SACKBlocks()
    if let duplicate { blocks.append(duplicate) }
    duplicate = nil
    queue.forEachBlock(limit: limit - blocks.count) { start, end in
      blocks.append(.init(start: start.value, end: end.value))
    }
    return blocks
  }

  /// Whether the peer's FIN has its turn; counts it.
  mutating func takeFinish() -> Bool {
    guard !isFinished, finishSequence == next else { return false }
    next += 1
    // The FIN takes no credit, so that the last byte's credit stays what the owner gave.
    creditEdge += 1
    isFinished = true
    return true
  }
}
