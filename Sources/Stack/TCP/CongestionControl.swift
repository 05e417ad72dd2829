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
  /// - Parameters:
  ///   - pipe: what is still under way, by RFC 6675 section 4.
  ///   - pipeBefore: the same before the acknowledgement. A window that isn't used doesn't grow (RFC 7661).
  ///   - hasLosses: whether the acknowledgement told of new losses.
  mutating func acknowledged(_ bytes: Int, pipe: Int, pipeBefore: Int, isProgress: Bool, hasLosses: Bool) {
    if isReducing { return reduce(bytes, pipe: pipe, isProgress: isProgress, hasLosses: hasLosses) }
    guard window < .max, bytes > 0 else { return }
    if isSlowStart {
      guard pipeBefore > window / 2 else { return }
      window += min(bytes, threshold - window)
    } else {
      guard pipeBefore + 2 * segment > window else { return }
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

  mutating func sent(_ bytes: Int) {
    if isReducing { sentInRecovery += bytes }
  }

  // MARK: Losses

  /// Losses were found: half of what was under way is the new window (RFC 5681 section 3.2).
  mutating func enterRecovery(flight: Int, pipe: Int) {
    guard algorithm != .none else { return }
    prior = (window, threshold)
    threshold = max(min(flight, window) / 2, 2 * segment)
    isReducing = true
    recoveryFlight = flight
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
  mutating func reduceOnce(flight: Int) {
    enterRecovery(flight: flight, pipe: 0)
    leaveRecovery()
  }

  /// The retransmission timer fired. RFC 5681 section 3.1: from a segment in slow start. A path that isn't shared begins
  /// with two, so that a delayed acknowledgement doesn't hold it up.
  ///
  /// - Parameter isFirst: not in a row; only then the threshold is set, for the later ones know less.
  mutating func timedOut(flight: Int, isFirst: Bool) {
    if isFirst {
      // A timeout during a recovery goes back to what was before both.
      if !isReducing { prior = (window, threshold) }
      if algorithm != .none { threshold = max(flight / 2, 2 * segment) }
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
