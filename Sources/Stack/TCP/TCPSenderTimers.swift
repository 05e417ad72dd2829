import Primitives

/// A sender's timers: retransmission (RFC 6298), persist (RFC 9293 section 3.8.6.1), reordering and tail loss probe
/// (RFC 8985).
extension TCPSender {
  /// When the next of them fires.
  var nextDeadline: Instant? {
    let repair = Instant.earliest(detection.reorderingDeadline, detection.probeDeadline)
    return Instant.earliest(repair, Instant.earliest(retransmitDeadline, probeDeadline))
  }

  /// The SYN left, for the first time or again.
  mutating func sentSynchronize(now: Instant) {
    if nxt == initial {
      nxt = initial + 1
      waitingSince = now
    }
    lastSentAt = now
    if retransmitDeadline == nil { retransmitDeadline = now + timer.timeout }
  }

  /// Arms the persist timer if the window alone holds the sender back.
  mutating func armPersist(now: Instant) {
    if hasUnsent, flightSize == 0, nextChunk(limit: maximumSegment) == nil {
      if waitingSince == nil { waitingSince = now }
      if probeDeadline == nil { probeDeadline = now + timer.timeout }
    } else {
      probeDeadline = nil
    }
  }

  /// Whether the persist timer fired: the caller sends a probe.
  mutating func persistExpired(now: Instant) -> Bool {
    guard let deadline = probeDeadline, deadline <= now else { return false }
    timer.backOff()
    probeDeadline = now + timer.timeout
    return true
  }

  /// Arms the tail loss probe after a transmission or an acknowledgement that moved something (RFC 8985 section 7.2).
  mutating func armTailProbe(now: Instant) {
    guard hasSack, recovery == .none, flightSize > 0, una > initial, flight.heldBytes == 0, timer.backoffs == 0 else {
      return detection.armProbe(nil)
    }
    let deadline = now + timer.probeTimeout(isSingle: flightSize <= maximumSegment)
    let isFirst = retransmitDeadline.map { deadline < $0 } ?? true
    detection.armProbe(isFirst ? deadline : nil)
  }

  /// Whether the tail of the flight is to be probed: `nextChunk` does it.
  mutating func tailProbeExpired(now: Instant) -> Bool {
    guard let deadline = detection.probeDeadline, deadline <= now else { return false }
    detection.armProbe(nil)
    isTailProbeDue = flightSize > 0 && recovery == .none
    return isTailProbeDue
  }

  /// What others have overtaken for too long is lost.
  mutating func reorderingExpired(now: Instant) {
    guard let deadline = detection.reorderingDeadline, deadline <= now else { return }
    detectLosses(now: now)
  }

  /// Whether the retransmission timer fired; then everything unacknowledged counts as lost (RFC 6298 section 5.4 to 5.7).
  mutating func retransmitExpired(now: Instant) -> Bool {
    guard let deadline = retransmitDeadline, deadline <= now else { return false }
    timer.backOff()
    retransmitDeadline = now + timer.timeout
    isTailProbeDue = false
    detection.timedOut()
    guard una > initial else { return true }
    congestion.timedOut(isFirst: timer.backoffs == 1)
    if let segment = blackHole.timedOut(backoffs: timer.backoffs, segment: maximumSegment) { maximumSegment = segment }
    // RFC 2018 section 8: a peer may take back what it reported, so that a second timeout believes nothing any more.
    startOver(isForgetful: timer.backoffs > 1)
    return true
  }

  func hasTimedOut(_ limit: Interval, now: Instant) -> Bool {
    guard let waitingSince else { return false }
    return now - waitingSince >= limit
  }
}
