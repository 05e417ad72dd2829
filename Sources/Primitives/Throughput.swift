/// A rate: how much a running total has grown a second, between the last two samples.
///
/// Sampled by whoever has a timer anyway, so that it costs nothing where the total grows.
public struct Throughput: Hashable, Sendable {
  /// Units a second.
  public private(set) var perSecond: UInt64 = 0
  private var total: UInt64 = 0
  private var time: Instant?

  /// Samples that are closer together are passed over: they would measure the jitter of the timer.
  static let shortest = Interval.milliseconds(400)

  public init() {}

  /// Tells what the total is now. A total that became smaller has started anew.
  public mutating func sample(_ total: UInt64, now: Instant) {
    guard let last = time else {
      (self.total, time) = (total, now)
      return
    }
    let elapsed = now - last
    guard elapsed >= Self.shortest else { return }
    let grown = total >= self.total ? total - self.total : 0
    perSecond = UInt64(Double(grown) / elapsed.seconds)
    (self.total, time) = (total, now)
  }
}
