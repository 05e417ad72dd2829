internal import CoreMetrics
public import Primitives
import Synchronization

/// How the snapshots of a host become metrics: one row a metric.
///
/// Snapshots are taken when somebody asks, so that nothing is counted twice on the way of a packet. Thread-safe.
public final class MetricTable<Snapshot>: Sendable {
  /// The value of one series, and its labels as name and value.
  public struct Sample {
    let labels: [(String, String)]
    let value: Double

    public static func value(_ value: some BinaryInteger, _ labels: (String, String)...) -> Sample {
      Sample(labels: labels, value: Double(value))
    }

    public static func seconds(_ value: Double, _ labels: (String, String)...) -> Sample {
      Sample(labels: labels, value: value)
    }
  }

  /// One metric.
  public struct Row: Sendable {
    enum Kind { case counter, gauge }

    let name, help: String
    let kind: Kind
    let samples: @Sendable (Snapshot) -> [Sample]

    /// A total that only grows, and starts at 0 again with what it counts. `name` ends in `_total`.
    public static func counter(
      _ name: String, _ help: String, _ samples: @escaping @Sendable (Snapshot) -> [Sample]
    ) -> Row {
      Row(name: name, help: help, kind: .counter, samples: samples)
    }

    /// What is now. A series that a snapshot doesn't have goes away.
    public static func gauge(
      _ name: String, _ help: String, _ samples: @escaping @Sendable (Snapshot) -> [Sample]
    ) -> Row {
      Row(name: name, help: help, kind: .gauge, samples: samples)
    }
  }

  private struct Total {
    let counter: FloatingPointCounter
    var last = 0.0
  }

  private struct State {
    var totals: [Key: Total] = [:]
    var gauges: [Key: Gauge] = [:]
  }

  private struct Key: Hashable {
    let name: String
    let labels: MetricLabels
  }

  private let rows: [Row]
  private let registry: MetricRegistry
  private let state = Mutex(State())

  public init(_ rows: [Row], registry: MetricRegistry) {
    self.rows = rows
    self.registry = registry
    for row in rows { registry.describe(row.name, row.help) }
  }

  /// Brings the metrics up to a snapshot.
  public func record(_ snapshot: Snapshot) {
    let samples = rows.map { ($0, $0.samples(snapshot)) }
    state.withLock { state in
      var seen: Set<Key> = []
      for (row, values) in samples {
        for sample in values {
          let key = Key(name: row.name, labels: MetricLabels(sample.labels))
          seen.insert(key)
          switch row.kind {
          case .counter: raise(&state, key, to: sample)
          case .gauge: set(&state, key, to: sample)
          }
        }
      }
      for (key, gauge) in state.gauges where !seen.contains(key) {
        gauge.destroy()
        state.gauges[key] = nil
      }
    }
  }

  private func raise(_ state: inout State, _ key: Key, to sample: Sample) {
    var total =
      state.totals[key]
      ?? Total(counter: FloatingPointCounter(label: key.name, dimensions: sample.labels, factory: registry))
    // What was counted before a restart of its source stays counted.
    total.counter.increment(by: sample.value >= total.last ? sample.value - total.last : sample.value)
    total.last = sample.value
    state.totals[key] = total
  }

  private func set(_ state: inout State, _ key: Key, to sample: Sample) {
    let gauge = state.gauges[key] ?? Gauge(label: key.name, dimensions: sample.labels, factory: registry)
    gauge.record(sample.value)
    state.gauges[key] = gauge
  }
}

/// How long something takes, as a histogram of seconds. Thread-safe.
public struct DurationMetric: Sendable {
  private let name: String
  private let registry: MetricRegistry

  /// - Parameter name: ends in `_seconds`.
  public init(_ name: String, _ help: String, registry: MetricRegistry) {
    self.name = name
    self.registry = registry
    registry.describe(name, help)
  }

  public func record(_ time: Interval, _ labels: (String, String)...) {
    Timer(label: name, dimensions: labels, factory: registry).recordNanoseconds(time.nanoseconds)
  }
}
