import Primitives

/// Finds out by time what was lost: RACK-TLP (RFC 8985).
///
/// What was sent some time before a segment that has arrived, and hasn't, is lost: this finds lost retransmissions too,
/// and leaves packets that overtake each other a window of time to arrive. At the end of a flight, where nothing follows
/// that could arrive, a probe does.
struct LossDetection {
  // RACK: the segment sent last of those that have arrived, and how long it took.
  private var newestSentAt: Instant?
  private var newestEnd = SequenceNumber(0)
  private var roundTrip = Interval.zero
  /// The end of the highest segment that has arrived: RACK.fack.
  private var highestDelivered: SequenceNumber
  private(set) var isReorderingSeen = false

  // How long others may overtake a segment: a quarter of the shortest round trip, times `windowFactor`.
  private(set) var windowFactor: Int64 = 1
  private var windowPersistence = 0
  /// No further report of duplicates counts before this is acknowledged: once in a round trip.
  private var duplicateRound: SequenceNumber?

  private var shortestRoundTrip: Interval?
  private var shortestAt = Instant.zero

  /// When what isn't lost yet will be.
  private(set) var reorderingDeadline: Instant?

  // The tail loss probe.
  private(set) var probeDeadline: Instant?
  /// The end of the flight when a probe was sent, until it is acknowledged.
  private(set) var probeEnd: SequenceNumber?
  private(set) var isProbeRetransmission = false
  private var isProbeDuplicate = false

  /// Segments held behind a gap that make a loss at once, as long as nothing was ever reordered (RFC 8985 section 6.2).
  static let duplicateThreshold = 3
  /// How long the shortest round trip counts: paths change.
  private static let shortestFor = Interval.seconds(30)
  private static let persistence = 16

  init(initial: SequenceNumber) {
    highestDelivered = initial
  }

  // MARK: RACK

  /// A round trip that was measured without doubt.
  mutating func note(roundTrip measured: Interval, now: Instant) {
    if let shortest = shortestRoundTrip, measured > shortest, now - shortestAt < Self.shortestFor { return }
    shortestRoundTrip = max(.zero, measured)
    shortestAt = now
  }

  /// Takes in what has arrived (section 6.2, steps 1 to 3).
  mutating func note(_ delivery: Delivery, now: Instant) {
    guard let newest = delivery.newest else { return }
    // An acknowledgement that comes sooner than any ever did answers the first transmission, not the second.
    let elapsed = now - newest.sentAt
    let isCertain = !newest.isRetransmitted || elapsed >= shortestRoundTrip ?? .zero
    if isCertain {
      if let sentAt = newestSentAt, !newest.wasSent(after: sentAt, newestEnd) {
      } else {
        newestSentAt = newest.sentAt
        newestEnd = newest.end
        roundTrip = elapsed
      }
    }
    if let lowest = delivery.lowestSentOnce, lowest < highestDelivered { isReorderingSeen = true }
    highestDelivered = .later(highestDelivered, newest.end)
  }

  /// The peer reported a retransmission as a duplicate (RFC 2883): it was spurious, packets take longer to be overtaken.
  mutating func noteDuplicate(una: SequenceNumber, nxt: SequenceNumber) {
    if probeEnd != nil, isProbeRetransmission { isProbeDuplicate = true }
    if let round = duplicateRound, una < round { return }
    duplicateRound = nxt
    windowFactor = min(windowFactor + 1, 64)
    windowPersistence = Self.persistence
  }

  /// A recovery has ended: the window is widened for the next sixteen of them.
  mutating func recoveryEnded() {
    guard windowFactor > 1 else { return }
    windowPersistence -= 1
    if windowPersistence <= 0 { windowFactor = 1 }
  }

  private func reorderingWindow(_ flight: Flight, isRecovering: Bool, segment: Int, smoothed: Interval?) -> Interval {
    if !isReorderingSeen, isRecovering || flight.heldBytes >= Self.duplicateThreshold * segment { return .zero }
    return min((shortestRoundTrip ?? .zero) / 4 * windowFactor, smoothed ?? .zero)
  }

  /// Marks what must be lost by now, and sets `reorderingDeadline` if more will be (section 6.2, step 5).
  ///
  /// - Returns: whether something was marked.
  mutating func detect(
    in flight: inout Flight, isRecovering: Bool, segment: Int, smoothed: Interval?, now: Instant
  ) -> Bool {
    reorderingDeadline = nil
    // Without gaps nothing was overtaken.
    guard let newestSentAt, flight.heldBytes > 0 || isRecovering else { return false }
    let window = reorderingWindow(flight, isRecovering: isRecovering, segment: segment, smoothed: smoothed)
    var isFound = false
    var latest: Instant?
    for index in 0..<flight.count {
      let piece = flight[index]
      guard piece.fate == .sent, !piece.wasSent(after: newestSentAt, newestEnd) else { continue }
      let lostAt = piece.sentAt + roundTrip + window
      if lostAt <= now {
        flight.lose(at: index)
        isFound = true
      } else {
        latest = max(latest ?? lostAt, lostAt)
      }
    }
    reorderingDeadline = latest
    return isFound
  }

  // MARK: The tail loss probe

  /// Arms the probe (section 7.2), or disarms it with `nil`. One probe may be under way.
  mutating func armProbe(_ deadline: Instant?) {
    probeDeadline = probeEnd == nil ? deadline : nil
  }

  mutating func probeSent(end: SequenceNumber, isRetransmission: Bool) {
    probeEnd = end
    isProbeRetransmission = isRetransmission
    isProbeDuplicate = false
    probeDeadline = nil
  }

  /// Takes a cumulative acknowledgement (section 7.4).
  ///
  /// - Returns: whether the probe has repaired a loss that nothing else would have told of.
  mutating func acknowledgeProbe(_ number: SequenceNumber, isDuplicate: Bool) -> Bool {
    guard let end = probeEnd, number >= end else { return false }
    if !isProbeRetransmission || isProbeDuplicate {
      probeEnd = nil
    } else if number > end {
      probeEnd = nil
      return true
    } else if isDuplicate {
      // Both arrived.
      probeEnd = nil
    }
    return false
  }

  /// Nothing is under way any more.
  mutating func landed() {
    reorderingDeadline = nil
    probeDeadline = nil
  }

  /// The retransmission timer fired: what the probe was for is done otherwise.
  mutating func timedOut() {
    probeEnd = nil
    probeDeadline = nil
    reorderingDeadline = nil
  }
}
