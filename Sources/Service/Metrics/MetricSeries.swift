import CoreMetrics
import Synchronization

/// One series of a metric: knows how its value is written.
protocol MetricSeries: AnyObject, Sendable {
  func write(into exposition: inout PrometheusText, _ name: String, _ labels: MetricLabels)
}

/// Only grows. Negative increments are ignored.
final class CounterSeries: MetricSeries, CounterHandler, FloatingPointCounterHandler {
  private let value = Mutex(0.0)

  func increment(by amount: Int64) { increment(by: Double(amount)) }

  func increment(by amount: Double) {
    if amount > 0, amount.isFinite { value.withLock { $0 += amount } }
  }

  func reset() {
    value.withLock { $0 = 0 }
  }

  func write(into exposition: inout PrometheusText, _ name: String, _ labels: MetricLabels) {
    exposition.sample(name, labels, value.withLock { $0 })
  }
}

/// Goes up and down.
final class GaugeSeries: MetricSeries, MeterHandler, RecorderHandler {
  private let value = Mutex(0.0)

  func set(_ value: Int64) { set(Double(value)) }
  func set(_ value: Double) { self.value.withLock { $0 = value } }
  func increment(by amount: Double) { value.withLock { $0 += amount } }
  func decrement(by amount: Double) { value.withLock { $0 -= amount } }
  func record(_ value: Int64) { set(Double(value)) }
  func record(_ value: Double) { set(value) }

  func write(into exposition: inout PrometheusText, _ name: String, _ labels: MetricLabels) {
    exposition.sample(name, labels, value.withLock { $0 })
  }
}

/// How often a value was how large, in buckets that never change.
final class HistogramSeries: MetricSeries, RecorderHandler, TimerHandler {
  /// Upper bounds: in seconds, from a switch on the same desk to a dial that gives up.
  static let bounds: [Double] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 3600,
  ]

  private struct Values {
    /// One more than there are bounds: what is larger than all of them.
    var counts = [UInt64](repeating: 0, count: HistogramSeries.bounds.count + 1)
    var sum = 0.0
  }

  private let values = Mutex(Values())

  func record(_ value: Int64) { record(Double(value)) }

  func record(_ value: Double) {
    guard value.isFinite else { return }
    let index = Self.bounds.firstIndex { value <= $0 } ?? Self.bounds.count
    values.withLock { values in
      values.counts[index] += 1
      values.sum += value
    }
  }

  func recordNanoseconds(_ duration: Int64) {
    record(Double(max(0, duration)) / 1e9)
  }

  func write(into exposition: inout PrometheusText, _ name: String, _ labels: MetricLabels) {
    let (counts, sum) = values.withLock { ($0.counts, $0.sum) }
    var total: UInt64 = 0
    for (bound, count) in zip(Self.bounds + [.infinity], counts) {
      total += count
      exposition.sample(
        name + "_bucket", labels, Double(total), extra: ("le", PrometheusText.number(bound)))
    }
    exposition.sample(name + "_sum", labels, sum)
    exposition.sample(name + "_count", labels, Double(total))
  }
}
