import Packet
import Primitives

/// The sending half of a connection: what is queued, in flight, acknowledged and lost (RFC 9293 section 3.8).
///
/// What was lost is found by `LossDetection`; how much may be under way is bounded by the peer's window and by
/// `CongestionControl`. What leaves next is in TCPSenderChunks.swift, timers in TCPSenderTimers.swift.
struct TCPSender {
  enum Recovery: Equatable {
    case none
    /// Acknowledgements told of a loss (RFC 6675, RFC 6582); over when `point` is acknowledged.
    case fast(point: SequenceNumber)
    /// The retransmission timer fired; everything up to `point` that isn't known to have arrived goes again.
    case timeout(point: SequenceNumber)
  }

  let initial: SequenceNumber
  /// The oldest unacknowledged sequence number, and the next one to send.
  private(set) var una: SequenceNumber
  var nxt: SequenceNumber
  /// The sequence number of the first byte in `queue`.
  private(set) var base: SequenceNumber
  var queue = SendQueue()
  /// The largest payload of a segment, options already taken off.
  var maximumSegment = 536 {
    didSet { congestion.setSegment(maximumSegment) }
  }
  var windowShift = 0
  private(set) var window = 0
  private(set) var maximumWindow = 0
  private var windowSequence = SequenceNumber(0)
  private var windowAcknowledgement = SequenceNumber(0)

  var hasSack = false
  var flight = Flight()
  var detection: LossDetection
  var congestion: CongestionControl
  var recovery = Recovery.none
  /// Acknowledgements in a row that moved nothing: the only sign of a loss where selective ones aren't in use.
  private(set) var duplicates = 0
  /// When the first retransmission of the recovery left, until an acknowledgement shows whether it was needed.
  var firstResentAt: Instant?
  /// Bytes that were sent again in the last recovery, and those of them that the peer had twice.
  var resentBytes = 0
  private var duplicatedBytes = 0
  /// What was in flight when the last recovery began.
  private var recoveryStart = SequenceNumber(0)
  private var recoveryEnd = SequenceNumber(0)

  var timer = RetransmissionTimer()
  var retransmitDeadline: Instant?
  /// The persist timer.
  var probeDeadline: Instant?
  var isTailProbeDue = false
  var lastSentAt = Instant.zero
  /// When the peer last showed progress, as long as it owes some: the start of the user timeout.
  var waitingSince: Instant?
  var blackHole = BlackHoleDetection()

  private(set) var isFinishing = false
  var hasSentFinish = false

  init(initial: SequenceNumber, congestion algorithm: CongestionControl.Algorithm) {
    self.initial = initial
    una = initial
    nxt = initial
    base = initial + 1
    detection = LossDetection(initial: initial)
    congestion = CongestionControl(algorithm, segment: 536)
  }

  /// The sequence number that the FIN has, once `isFinishing`.
  var finishSequence: SequenceNumber { base + queue.count }
  /// Sequence numbers in flight.
  var flightSize: Int { nxt - una }
  var isFinishAcknowledged: Bool { hasSentFinish && una > finishSequence }
  var hasUnsent: Bool { nxt < finishSequence || (isFinishing && !hasSentFinish) }

  /// What is believed to be under way: RFC 6675 section 4, and without selective acknowledgements RFC 6582 section 3.2,
  /// where each duplicate says that a segment has left the path.
  var pipe: Int {
    let left = flightSize - flight.heldBytes - flight.lostBytes
    return hasSack ? left : max(0, left - duplicates * maximumSegment)
  }

  // MARK: The handshake

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
    // Karn: a SYN that was sent twice isn't measured, unless a timestamp tells them apart.
    let measured = timer.backoffs == 0 ? now - lastSentAt : echoed
    if let measured {
      timer.sample(measured)
      detection.note(roundTrip: measured, now: now)
    }
    timer.progress()
    recovery = .none
    congestion = CongestionControl(congestion.algorithm, segment: maximumSegment)
    retransmitDeadline = nil
    waitingSince = hasUnsent ? now : nil
    armPersist(now: now)
  }

  mutating func finish() {
    isFinishing = true
  }

  // MARK: Acknowledgements

  /// An acceptable acknowledgement: una ≤ `number` ≤ nxt.
  struct Acknowledgement {
    var number: SequenceNumber
    /// Scaled.
    var window: Int
    /// The number of the segment that it came in.
    var sequence: SequenceNumber
    /// Whether the segment had neither payload nor SYN nor FIN, so that it may count as a duplicate.
    var isBare: Bool
    /// The round trip by the timestamp that it echoes.
    var echoed: Interval?
    var blocks = SACKBlocks()
  }

  /// What an acknowledgement brought.
  struct Progress {
    /// Payload that the peer now holds for good.
    var bytes = 0
    /// Whether it showed that what was sent again hadn't been lost.
    var isSpurious = false
  }

  mutating func acknowledge(_ acknowledgement: Acknowledgement, pool: inout SlabPool, now: Instant) -> Progress {
    var progress = Progress()
    var delivery = Delivery()
    let number = acknowledgement.number
    let isDuplicate = number == una && acknowledgement.isBare && flightSize > 0 && acknowledgement.window == window
    if hasSack { note(acknowledgement.blocks, number: number, delivery: &delivery, progress: &progress) }
    // RFC 9293 section 3.10.7.4: an older segment must not bring back an older window.
    if windowSequence < acknowledgement.sequence
      || (windowSequence == acknowledgement.sequence && windowAcknowledgement <= number)
    {
      setWindow(acknowledgement.window, sequence: acknowledgement.sequence, acknowledgement: number)
    }
    let isProgress = number > una
    if isProgress {
      flight.acknowledge(number, delivery: &delivery)
      measure(delivery, echoed: acknowledgement.echoed, now: now)
      advance(to: number, echoed: acknowledgement.echoed, progress: &progress, pool: &pool, now: now)
    } else if delivery.bytes > 0 {
      measure(delivery, echoed: nil, now: now)
    } else if isDuplicate {
      duplicates += 1
    }
    detection.note(delivery, now: now)
    if detection.acknowledgeProbe(number, isDuplicate: isDuplicate && acknowledgement.blocks.isEmpty) {
      congestion.reduceOnce()
    }
    // A peer that answers with a closed window is alive, however long it stays closed.
    if window == 0, waitingSince != nil { waitingSince = now }
    let hasLosses = detectLosses(now: now)
    congestion.acknowledged(delivery.bytes, pipe: pipe, isProgress: isProgress, hasLosses: hasLosses)
    if isProgress { armTailProbe(now: now) }
    armPersist(now: now)
    return progress
  }

  /// Notes the ranges of a SACK option. Those outside of what is in flight are ignored (RFC 2018 section 8), but for the
  /// first one, which may name what arrived twice (RFC 2883 section 4).
  private mutating func note(
    _ blocks: SACKBlocks, number: SequenceNumber, delivery: inout Delivery, progress: inout Progress
  ) {
    for index in 0..<blocks.count {
      let start = SequenceNumber(blocks[index].start)
      let end = SequenceNumber(blocks[index].end)
      guard start < end, end <= nxt else { continue }
      if index == 0, isDuplicate(start, end, blocks, number: number) {
        noteDuplicate(start, end, progress: &progress)
      } else if start >= una {
        flight.hold(start, end, delivery: &delivery)
      }
    }
  }

  private func isDuplicate(
    _ start: SequenceNumber, _ end: SequenceNumber, _ blocks: SACKBlocks, number: SequenceNumber
  ) -> Bool {
    if end <= number { return true }
    guard blocks.count > 1 else { return false }
    return start >= SequenceNumber(blocks[1].start) && end <= SequenceNumber(blocks[1].end)
  }

  /// The peer had something twice. If that is all that was sent again, nothing had been lost.
  private mutating func noteDuplicate(_ start: SequenceNumber, _ end: SequenceNumber, progress: inout Progress) {
    // The path may duplicate packets by itself.
    guard resentBytes > 0 || detection.probeEnd != nil else { return }
    let isProbe = detection.isProbeRetransmission && detection.probeEnd == end
    detection.noteDuplicate(una: una, nxt: nxt)
    // What a probe sent again, or another recovery, says nothing about this one.
    guard resentBytes > 0, !isProbe, start >= recoveryStart, end <= recoveryEnd else { return }
    duplicatedBytes += end - start
    guard duplicatedBytes >= resentBytes else { return }
    undo()
    progress.isSpurious = true
  }

  private mutating func measure(_ delivery: Delivery, echoed: Interval?, now: Instant) {
    // Without selective acknowledgements a filled gap acknowledges what arrived long ago.
    if let sentAt = delivery.sentOnceAt, hasSack || recovery == .none {
      timer.sample(now - sentAt)
      detection.note(roundTrip: now - sentAt, now: now)
    } else if let echoed {
      timer.sample(echoed)
    }
  }

  private mutating func advance(
    to number: SequenceNumber, echoed: Interval?, progress: inout Progress, pool: inout SlabPool, now: Instant
  ) {
    una = number
    let bytes = min(max(0, number - base), queue.count)
    queue.acknowledge(bytes, pool: &pool)
    base += bytes
    progress.bytes = bytes
    duplicates = 0
    isTailProbeDue = false
    let isSpurious = answersOriginal(echoed, now: now)
    if isSpurious {
      undo()
      progress.isSpurious = true
    }
    if let segment = blackHole.progress(backoffs: timer.backoffs, isSpurious: isSpurious) { maximumSegment = segment }
    timer.progress()
    switch recovery {
    case .none: break
    case .fast(let point), .timeout(let point):
      if una >= point {
        leaveRecovery()
      } else if case .fast = recovery, !hasSack {
        // RFC 6582 section 3.2: a partial acknowledgement names the next loss.
        flight.loseFirst(maximumSegment)
      }
    }
    retransmitDeadline = flightSize > 0 ? now + timer.timeout : nil
    waitingSince = flightSize > 0 || hasUnsent ? now : nil
  }

  /// Whether the first acknowledgement after a retransmission answers what was sent before it: the Eifel detection
  /// (RFC 3522). The timestamp clock ticks in milliseconds, so that on a fast path it can't tell.
  private mutating func answersOriginal(_ echoed: Interval?, now: Instant) -> Bool {
    guard let resentAt = firstResentAt else { return false }
    firstResentAt = nil
    guard let echoed else { return false }
    return now.milliseconds - echoed.milliseconds < resentAt.milliseconds
  }

  // MARK: Recovery

  /// Looks for losses.
  ///
  /// - Returns: whether there are new ones.
  @discardableResult
  mutating func detectLosses(now: Instant) -> Bool {
    guard flightSize > 0, una > initial else {
      detection.landed()
      return false
    }
    var isFound = false
    if hasSack {
      isFound = detection.detect(
        in: &flight, isRecovering: recovery != .none, segment: maximumSegment, smoothed: timer.roundTrip, now: now)
    } else if recovery == .none, duplicates >= LossDetection.duplicateThreshold {
      flight.loseFirst(maximumSegment)
      isFound = true
    }
    // What a recovery that has ended left lost begins the next one.
    if recovery == .none, flight.lostBytes > 0 {
      enterRecovery()
      congestion.enterRecovery(flight: flightSize, pipe: pipe)
    }
    return isFound
  }

  private mutating func enterRecovery() {
    recovery = .fast(point: nxt)
    beginCountingDuplicates()
    detection.armProbe(nil)
  }

  private mutating func beginCountingDuplicates() {
    firstResentAt = nil
    resentBytes = 0
    duplicatedBytes = 0
    recoveryStart = una
    recoveryEnd = nxt
  }

  private mutating func leaveRecovery() {
    recovery = .none
    firstResentAt = nil
    congestion.leaveRecovery()
    detection.recoveryEnded()
  }

  /// What was taken for lost wasn't (RFC 4015): everything is as if nothing had happened.
  private mutating func undo() {
    recovery = .none
    firstResentAt = nil
    resentBytes = 0
    flight.reviveAll()
    congestion.leaveRecovery()
    congestion.undo()
  }

  /// Everything unacknowledged counts as lost.
  mutating func startOver(isForgetful: Bool) {
    flight.loseAll(isForgetful: isForgetful)
    recovery = .timeout(point: nxt)
    beginCountingDuplicates()
    duplicates = 0
  }

  /// Another segment size, because a router told of a smaller MTU: what is under way can't arrive and goes again.
  /// That isn't a sign of congestion (RFC 1191 section 6.4).
  mutating func lowerMaximumSegment(to bytes: Int) {
    guard bytes < maximumSegment else { return }
    maximumSegment = bytes
    guard flightSize > 0, una > initial else { return }
    flight.loseAll(isForgetful: false)
    guard recovery == .none, flight.lostBytes > 0 else { return }
    enterRecovery()
  }
}
