import Primitives

/// Whether the peer lives, and how far away it is.
struct Liveness {
  private let pingInterval: Interval
  private let deadInterval: Interval
  private var lastReceived: Instant
  /// From when silence is the peer's: since it was last heard, or since this end looks again.
  private var silentSince: Instant
  private var lastPing: Instant?
  private var probeDeadline: Instant?
  /// Whether the last PING came back: only then another one can measure anything.
  private(set) var isAnswered = false
  private var samples = 0
  /// The shortest round trip seen; `nil` before the first answer.
  private(set) var roundTrip: Interval?
  /// The latest round trip, queues included.
  private(set) var lastRoundTrip: Interval?

  init(pingInterval: Interval, deadInterval: Interval, now: Instant) {
    self.pingInterval = pingInterval
    self.deadInterval = deadInterval
    lastReceived = now
    silentSince = now
  }

  mutating func received(now: Instant) {
    lastReceived = now
    silentSince = now
    probeDeadline = nil
  }

  /// Time that a peer has to answer when there is reason to doubt that the way still exists.
  static let probeInterval = Interval.seconds(3)
  /// A look that comes so much too late tells that this host was stopped or asleep, and not the peer.
  static let absence = Interval.seconds(5)

  /// The way may have changed: an answer is wanted soon.
  mutating func probe(now: Instant) {
    if probeDeadline == nil { probeDeadline = now + Self.probeInterval }
  }

  /// A PING goes out: its payload is the time, so that the answer carries it back.
  mutating func ping(now: Instant) -> UInt64 {
    lastPing = now
    isAnswered = false
    return UInt64(bitPattern: now.nanoseconds)
  }

  /// Round trips that are measured one after the other to begin with: the first finds both ends busy with the beginning,
  /// and what is taken for the shortest decides how large windows grow.
  static let firstSamples = 5

  /// - Returns: whether to ask again at once.
  mutating func pong(_ value: UInt64, now: Instant) -> Bool {
    let sent = Instant(nanoseconds: Int64(bitPattern: value))
    // An answer to nothing we asked isn't a measurement.
    guard let lastPing, sent == lastPing else { return false }
    isAnswered = true
    let sample = max(now - sent, .microseconds(1))
    lastRoundTrip = sample
    roundTrip = roundTrip.map { min($0, sample) } ?? sample
    samples = min(samples + 1, Self.firstSamples)
    return samples < Self.firstSamples
  }

  var nextDeadline: Instant {
    let dead = silentSince + deadInterval
    return min(min(dead, nextPing), probeDeadline ?? dead)
  }

  private var nextPing: Instant { max(silentSince, lastPing ?? silentSince) + pingInterval }

  enum Verdict: Equatable { case wait, ping, dead(Interval) }

  mutating func check(now: Instant) -> Verdict {
    if now - nextDeadline >= Self.absence {
      // What the peer has said meanwhile may wait unread. If this host is merely overloaded, so may be the peer's.
      silentSince = now
      probeDeadline = now + Self.probeInterval * 2
      return .ping
    }
    if let probeDeadline, now >= probeDeadline { return .dead(now - lastReceived) }
    if now - silentSince >= deadInterval { return .dead(now - lastReceived) }
    return now >= nextPing ? .ping : .wait
  }
}
