/// How much may be under way: the congestion window of RFC 5681, reduced in proportion while losses are repaired
/// (PRR, RFC 9937). Bytes.
struct CongestionControl {
  typealias Algorithm = StackConfiguration.Congestion

  let algorithm: Algorithm
  private(set) var window: Int
  private(set) var threshold = Int.max
  private var segment: Int

  /// What a reduction that turns out to be needless goes back to.
  private var prior: (window: Int, threshold: Int)?
  /// Bytes acknowledged in congestion avoidance that haven't opened the window by a segment yet (RFC 3465).
  private var credit = 0

  /// The most that was under way, as of the last round trip: how much of the window is in use. What is under way when an
  /// acknowledgement comes tells less, since one acknowledgement, or some in a row, may take much of it away before
  /// anything is sent for it.
  private(set) var peak = 0
  /// The end of the flight at that time: once it is acknowledged, the next round trip counts.
  private var peakEnd: SequenceNumber?

  // Proportional rate reduction.
  private var isReducing = false
  private var recoveryFlight = 0
  private var delivered = 0
  private var sentInRecovery = 0

  init(_ algorithm: Algorithm, segment: Int) {
    self.algorithm = algorithm
    self.segment = segment
    window = algorithm == .none ? .max : Self.initialWindow(segment)
  }

  /// RFC 6928 section 2.
  private static func initialWindow(_ segment: Int) -> Int {
    min(10 * segment, max(2 * segment, 14_600))
  }

  var isSlowStart: Bool { window < threshold }

  /// Another segment size, because the path has another MTU: the window stays what it is in bytes.
  mutating func setSegment(_ bytes: Int) {
    segment = bytes
  }

  // MARK: Growth

  /// Takes what an acknowledgement delivered.
  ///
  /// A window that isn't used doesn't grow (RFC 7661).
  ///
  /// - Parameters:
  ///   - pipe: what is still under way, by RFC 6675 section 4.
  ///   - hasLosses: whether the acknowledgement told of new losses.
  mutating func acknowledged(_ bytes: Int, pipe: Int, isProgress: Bool, hasLosses: Bool) {
    if isReducing { return reduce(bytes, pipe: pipe, isProgress: isProgress, hasLosses: hasLosses) }
    guard window < .max, bytes > 0 else { return }
    if isSlowStart {
      guard peak > window / 2 else { return }
      window += min(bytes, threshold - window)
    } else {
      guard peak + 2 * segment > window else { return }
      credit += bytes
      guard credit >= window else { return }
      credit -= window
      window += segment
    }
  }

  /// RFC 9937 section 6.2.
  private mutating func reduce(_ bytes: Int, pipe: Int, isProgress: Bool, hasLosses: Bool) {
    delivered += bytes
    var allowed: Int
    if pipe > threshold {
      // As many segments leave as the new window has of the old one.
      allowed = delivered &* threshold / max(1, recoveryFlight) - sentInRecovery
    } else {
      // Slow start towards the new window as long as nothing more goes wrong, else one for one.
      allowed = max(delivered - sentInRecovery, bytes)
      if isProgress, !hasLosses { allowed += segment }
      allowed = min(threshold - pipe, allowed)
    }
    window = pipe + max(allowed, sentInRecovery == 0 ? segment : 0)
  }

  /// Takes what has left.
  ///
  /// - Parameters:
  ///   - pipe: what is under way from now on.
  ///   - una: the oldest unacknowledged sequence number, and `nxt` the next one to send.
  mutating func sent(_ bytes: Int, pipe: Int, una: SequenceNumber, nxt: SequenceNumber) {
    if isReducing { sentInRecovery += bytes }
    guard window < .max else { return }
    if let peakEnd, una < peakEnd, pipe <= peak { return }
    peak = pipe
    peakEnd = nxt
  }

  // MARK: Losses

  /// Half of what was under way before the acknowledgements that told of losses (RFC 5681 section 3.1, equation 4).
  private var halved: Int { max(min(peak, window) / 2, 2 * segment) }

  /// Losses were found: half of what was under way is the new window (RFC 5681 section 3.2).
  ///
  /// - Parameters:
  ///   - flight: what isn't acknowledged.
  ///   - pipe: what of it is still under way.
  mutating func enterRecovery(flight: Int, pipe: Int) {
    guard algorithm != .none else { return }
    prior = (window, threshold)
    threshold = halved
    isReducing = true
    // What this acknowledgement delivered counts as delivered in the recovery (RFC 9937 section 6.1).
    recoveryFlight = max(flight, peak)
    delivered = 0
    sentInRecovery = 0
    credit = 0
    window = pipe + segment
  }

  /// Everything that was under way when losses were found has arrived.
  mutating func leaveRecovery() {
    if algorithm == .none {
      window = .max
      threshold = .max
    } else if isReducing {
      window = threshold
    }
    isReducing = false
  }

  /// A loss that a probe repaired: a reduction without a recovery (RFC 8985 section 7.4.2).
  mutating func reduceOnce() {
    guard algorithm != .none, !isReducing else { return }
    // Duplicates that are reported now belong to an earlier recovery: they don't undo this.
    prior = nil
    threshold = halved
    window = threshold
    credit = 0
  }

  /// The retransmission timer fired. RFC 5681 section 3.1: from a segment in slow start. A path that isn't shared begins
  /// with two, so that a delayed acknowledgement doesn't hold it up.
  ///
  /// - Parameter isFirst: not in a row; only then the threshold is set, for the later ones know less.
  mutating func timedOut(isFirst: Bool) {
    // A recovery has reduced the threshold already, and knows what was before both.
    if isFirst, !isReducing {
      prior = (window, threshold)
      if algorithm != .none { threshold = halved }
    }
    isReducing = false
    credit = 0
    window = algorithm == .none ? 2 * segment : segment
  }

  /// The reduction was needless (RFC 4015).
  mutating func undo() {
    if let prior {
      window = max(window, prior.window)
      threshold = prior.threshold
    }
    prior = nil
    isReducing = false
  }

  /// Nothing was under way for longer than a retransmission timeout: what is known of the path has aged (RFC 5681
  /// section 4.1).
  mutating func restartAfterIdle() {
    guard algorithm != .none else { return }
    window = min(window, Self.initialWindow(segment))
  }
}
