import Primitives

/// The retransmission timeout, from measured round trips (RFC 6298).
struct RetransmissionTimer {
  /// Bounds of the timeout. RFC 6298 asks for a minimum of 1 s; the far end of the link is a kernel on the same
  /// machine, which delays an acknowledgement by 40 to 200 ms at most.
  static let minimum = Interval.milliseconds(200)
  static let maximum = Interval.seconds(60)

  /// How long a peer may delay the acknowledgement of a single segment (RFC 8985 section 7.2).
  private static let acknowledgementDelay = Interval.milliseconds(200)
  /// The shortest wait for a probe: twice a local round trip would be over before the host has its turn again.
  private static let minimumProbeTimeout = Interval.milliseconds(10)

  private var smoothed: Interval?
  private var variation = Interval.zero
  private var base = Interval.seconds(1)
  /// Timeouts in a row.
  private(set) var backoffs = 0

  /// The smoothed round trip time, once measured.
  var roundTrip: Interval? { smoothed }

  /// The timeout to arm, backed off.
  var timeout: Interval {
    min(Self.maximum, base * (1 << Int64(min(backoffs, 10))))
  }

  /// Takes a measurement of a segment that was sent once only, or that a timestamp identifies (section 3).
  mutating func sample(_ measured: Interval) {
    let measured = max(.zero, measured)
    if let smoothed {
      let error = max(smoothed, measured) - min(smoothed, measured)
      variation = (variation * 3 + error) / 4
      self.smoothed = (smoothed * 7 + measured) / 8
    } else {
      smoothed = measured
      variation = measured / 2
    }
    base = min(Self.maximum, max(Self.minimum, (smoothed ?? measured) + variation * 4))
  }

  /// How long after the last transmission a tail loss probe is due (RFC 8985 section 7.2).
  ///
  /// - Parameter isSingle: whether a single segment is under way.
  func probeTimeout(isSingle: Bool) -> Interval {
    guard let smoothed else { return .seconds(1) }
    return max(smoothed * 2, Self.minimumProbeTimeout) + (isSingle ? Self.acknowledgementDelay : .zero)
  }

  mutating func backOff() {
    backoffs += 1
  }

  /// New data was acknowledged: the path works.
  mutating func progress() {
    backoffs = 0
  }
}
