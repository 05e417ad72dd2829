import Primitives

/// The sending half of a connection: what is queued, in flight, acknowledged and lost (RFC 9293 section 3.8).
///
/// Sending is driven by the receive window. The far end of the wire is the kernel of the same machine, so that there is
/// no path to congest; only after a timeout a `lossWindow` makes the flight start small again, as in slow start.
/// A congestion controller would set `lossWindow` at all times.
struct TCPSender {
  /// What to send next: `count` bytes of payload at `start`, then perhaps a FIN.
  struct Chunk: Equatable {
    var start: SequenceNumber
    var count: Int
    var hasFinish: Bool
    var isRetransmission: Bool
    /// Whether all that is queued is sent with it: PSH.
    var isLast: Bool
  }

  enum Recovery: Equatable {
    case none
    /// Duplicate or selective acknowledgements told of a loss (RFC 6675, RFC 6582); over when `point` is acknowledged.
    case fast(point: SequenceNumber)
    /// The retransmission timer fired; everything up to `point` that isn't known to have arrived goes again.
    case timeout(point: SequenceNumber)
  }

  let initial: SequenceNumber
  /// The oldest unacknowledged sequence number, and the next one to send.
  private(set) var una: SequenceNumber
  private(set) var nxt: SequenceNumber
  /// The sequence number of the first byte in `queue`.
  private(set) var base: SequenceNumber
  var queue = SendQueue()
  /// The largest payload of a segment, options already taken off.
  var maximumSegment = 536
  var windowShift = 0
  private(set) var window = 0
  private(set) var maximumWindow = 0
  private var windowSequence = SequenceNumber(0)
  private var windowAcknowledgement = SequenceNumber(0)

  var hasSack = false
  private(set) var scoreboard = SackScoreboard()
  private(set) var recovery = Recovery.none
  private var retransmitPointer: SequenceNumber
  private(set) var duplicates = 0
  private(set) var lossWindow: Int?

  private(set) var timer = RetransmissionTimer()
  private(set) var retransmitDeadline: Instant?
  private(set) var probeDeadline: Instant?
  private var timedEnd: SequenceNumber?
  private var timedAt = Instant.zero
  /// When the peer last showed progress, as long as it owes some: the start of the user timeout.
  private(set) var waitingSince: Instant?

  private(set) var isFinishing = false
  private(set) var hasSentFinish = false

  init(initial: SequenceNumber) {
    self.initial = initial
    una = initial
    nxt = initial
    base = initial + 1
    retransmitPointer = initial
  }

  /// The sequence number that the FIN has, once `isFinishing`.
  var finishSequence: SequenceNumber { base + queue.count }
  /// Bytes in flight.
  var flight: Int { nxt - una }
  var isFinishAcknowledged: Bool { hasSentFinish && una > finishSequence }
  private var hasUnsent: Bool { nxt < finishSequence || (isFinishing && !hasSentFinish) }

  // MARK: The handshake

  /// The SYN left, for the first time or again.
  mutating func sentSynchronize(now: Instant) {
    if nxt == initial {
      nxt = initial + 1
      timedEnd = nxt
      timedAt = now
      waitingSince = now
    } else {
      timedEnd = nil
    }
    if retransmitDeadline == nil { retransmitDeadline = now + timer.timeout }
  }

  /// Takes the window of a SYN or of the first acknowledgement as it is.
  mutating func setWindow(_ size: Int, sequence: SequenceNumber, acknowledgement: SequenceNumber) {
    window = size
    maximumWindow = max(maximumWindow, size)
    windowSequence = sequence
    windowAcknowledgement = acknowledgement
  }

  /// The SYN is acknowledged.
  mutating func acknowledgeSynchronize(window size: Int, sequence: SequenceNumber, echoed: Interval?, now: Instant) {
    una = initial + 1
    setWindow(size, sequence: sequence, acknowledgement: una)
    if let echoed {
      timer.sample(echoed)
    } else if timedEnd != nil {
      timer.sample(now - timedAt)
    }
    timedEnd = nil
    timer.progress()
    recovery = .none
    lossWindow = nil
    retransmitDeadline = nil
    waitingSince = hasUnsent ? now : nil
    armProbe(now: now)
  }

  mutating func finish() {
    isFinishing = true
  }

  // MARK: Acknowledgements

  /// What an acknowledgement brought.
  struct Progress {
    /// Payload that the peer now holds for good.
    var bytes = 0
    var opensWindow = false
  }

  /// Takes an acceptable acknowledgement: una ≤ `number` ≤ nxt.
  ///
  /// - Parameters:
  ///   - size: the window, scaled.
  ///   - isBare: whether the segment had neither payload nor SYN nor FIN, so that it may count as a duplicate.
  ///   - hasNewSack: whether its SACK option told something new.
  mutating func acknowledge(
    _ number: SequenceNumber, window size: Int, sequence: SequenceNumber, isBare: Bool, hasNewSack: Bool,
    echoed: Interval?, pool: inout SlabPool, now: Instant
  ) -> Progress {
    var progress = Progress()
    let flightBefore = flight
    let isDuplicate = number == una && isBare && flightBefore > 0 && size == window
    // RFC 9293 section 3.10.7.4: an older segment must not bring back an older window.
    if windowSequence < sequence || (windowSequence == sequence && windowAcknowledgement <= number) {
      progress.opensWindow = size > window
      setWindow(size, sequence: sequence, acknowledgement: number)
    }
    if number > una {
      advance(to: number, progress: &progress, echoed: echoed, pool: &pool, now: now)
    } else if isDuplicate || hasNewSack {
      duplicates += 1
    }
    // A peer that answers with a closed window is alive, however long it stays closed.
    if window == 0, waitingSince != nil { waitingSince = now }
    detectLoss()
    armProbe(now: now)
    return progress
  }

  /// Notes ranges of a SACK option. Ranges outside of what is in flight are ignored (RFC 2018 section 8).
  mutating func noteSack(_ start: SequenceNumber, _ end: SequenceNumber) -> Bool {
    guard hasSack, start < end, start >= una, end <= nxt else { return false }
    return scoreboard.insert(start, end)
  }

  private mutating func advance(
    to number: SequenceNumber, progress: inout Progress, echoed: Interval?, pool: inout SlabPool, now: Instant
  ) {
    let acknowledged = number - una
    una = number
    let bytes = min(max(0, number - base), queue.count)
    queue.acknowledge(bytes, pool: &pool)
    base += bytes
    progress.bytes = bytes
    scoreboard.acknowledge(una)
    duplicates = 0
    if let echoed {
      timer.sample(echoed)
      timedEnd = nil
    } else if let end = timedEnd, number >= end {
      timer.sample(now - timedAt)
      timedEnd = nil
    }
    timer.progress()
    if let loss = lossWindow { lossWindow = loss + acknowledged }
    switch recovery {
    case .none: break
    case .fast(let point), .timeout(let point):
      if una >= point {
        recovery = .none
        lossWindow = nil
      } else if case .fast = recovery, !hasSack {
        // RFC 6582 section 3.2: a partial acknowledgement names the next loss.
        retransmitPointer = una
      }
    }
    retransmitPointer = .later(retransmitPointer, una)
    retransmitDeadline = flight > 0 ? now + timer.timeout : nil
    waitingSince = flight > 0 || hasUnsent ? now : nil
  }

  private mutating func detectLoss() {
    guard recovery == .none, flight > 0, una > initial else { return }
    let isLost = duplicates >= 3 || (hasSack && scoreboard.bytes > 2 * maximumSegment)
    guard isLost else { return }
    recovery = .fast(point: nxt)
    retransmitPointer = una
    timedEnd = nil
  }

  // MARK: What to send

  /// The next segment, if there is something that may be sent now.
  ///
  /// - Parameter limit: payload that fits: a segment or a super-segment.
  func nextChunk(limit: Int) -> Chunk? {
    retransmission(limit: limit) ?? fresh(limit: limit)
  }

  private func retransmission(limit: Int) -> Chunk? {
    let end: SequenceNumber
    switch recovery {
    case .none: return nil
    case .fast:
      // With SACK: what lies below something that arrived. Without: one segment for each (partial) acknowledgement.
      if hasSack, let highest = scoreboard.highest {
        end = highest
      } else if retransmitPointer == una {
        end = .earlier(una + maximumSegment, nxt)
      } else {
        return nil
      }
    case .timeout(let point): end = point
    }
    guard let hole = scoreboard.nextHole(from: retransmitPointer, below: end), hole.start >= base else { return nil }
    var allowed = limit
    if let lossWindow {
      let pipe = (retransmitPointer - una) - scoreboard.bytes(from: una, to: retransmitPointer)
      guard pipe < lossWindow else { return nil }
      allowed = min(allowed, max(maximumSegment, lossWindow - pipe))
    }
    let payloadEnd = SequenceNumber.earlier(hole.end, finishSequence)
    let count = min(max(0, payloadEnd - hole.start), allowed)
    let hasFinish = hasSentFinish && hole.start + count == finishSequence && hole.end > finishSequence
    guard count > 0 || hasFinish else { return nil }
    return Chunk(start: hole.start, count: count, hasFinish: hasFinish, isRetransmission: true, isLast: true)
  }

  private func fresh(limit: Int) -> Chunk? {
    guard hasUnsent, nxt >= base else { return nil }
    let available = finishSequence - nxt
    let space = max(0, una + window - nxt)
    var count = min(available, space, limit)
    if count < available {
      // Whole segments as long as more follows, and no silly ones (RFC 9293 section 3.8.6.2.1) unless the window is all
      // that the peer ever gave.
      if count > maximumSegment {
        count -= count % maximumSegment
      } else if count < maximumSegment, count < maximumWindow / 2, flight > 0 {
        return nil
      }
    }
    let isLast = count == available
    let hasFinish = isFinishing && isLast && !hasSentFinish
    guard count > 0 || hasFinish else { return nil }
    // A FIN alone needs no room: it carries nothing that the peer would have to store.
    return Chunk(start: nxt, count: count, hasFinish: hasFinish, isRetransmission: false, isLast: isLast)
  }

  /// Books a chunk as sent.
  mutating func sent(_ chunk: Chunk, now: Instant) {
    let end = chunk.start + chunk.count + (chunk.hasFinish ? 1 : 0)
    if chunk.hasFinish { hasSentFinish = true }
    if chunk.isRetransmission {
      retransmitPointer = end
      // Karn: what was sent twice isn't measured.
      timedEnd = nil
    } else {
      nxt = end
      if timedEnd == nil, recovery == .none {
        timedEnd = end
        timedAt = now
      }
    }
    if retransmitDeadline == nil { retransmitDeadline = now + timer.timeout }
    if waitingSince == nil { waitingSince = now }
    probeDeadline = nil
  }

  /// Arms the persist timer if the window alone holds the sender back (RFC 9293 section 3.8.6.1).
  mutating func armProbe(now: Instant) {
    if hasUnsent, flight == 0, nextChunk(limit: maximumSegment) == nil {
      if waitingSince == nil { waitingSince = now }
      if probeDeadline == nil { probeDeadline = now + timer.timeout }
    } else {
      probeDeadline = nil
    }
  }

  // MARK: Timeouts

  /// Whether the persist timer fired: the caller sends a probe.
  mutating func probeExpired(now: Instant) -> Bool {
    guard let deadline = probeDeadline, deadline <= now else { return false }
    timer.backOff()
    probeDeadline = now + timer.timeout
    return true
  }

  /// Whether the retransmission timer fired; then everything unacknowledged counts as lost (RFC 6298 section 5.4 to 5.7).
  mutating func retransmitExpired(now: Instant) -> Bool {
    guard let deadline = retransmitDeadline, deadline <= now else { return false }
    timer.backOff()
    retransmitDeadline = now + timer.timeout
    timedEnd = nil
    duplicates = 0
    // RFC 2018 section 8: a peer may take back what it reported, so that a second timeout believes nothing any more.
    if timer.backoffs > 1 { scoreboard.removeAll() }
    recovery = .timeout(point: nxt)
    retransmitPointer = una
    lossWindow = 2 * maximumSegment
    return true
  }

  func hasTimedOut(_ limit: Interval, now: Instant) -> Bool {
    guard let waitingSince else { return false }
    return now - waitingSince >= limit
  }
}
