public import CoreMetrics
internal import Control
import Synchronization

/// Where a host's metrics are kept until somebody asks for them: a back end of swift-metrics without a port.
///
/// Thread-safe. `text` has all of it in Prometheus' text format.
public final class MetricRegistry: MetricsFactory {
  /// Series of all metrics together. Labels name agents, sites and reasons, of which there are some hundreds; beyond the
  /// bound a new series goes nowhere and is counted.
  public static let seriesLimit = 4096
  /// Bytes of a label's value that are kept.
  static let labelLimit = 128

  struct Family {
    let kind: MetricKind
    var series: [MetricLabels: any MetricSeries] = [:]
  }

  private struct State {
    var families: [String: Family] = [:]
    var help: [String: String] = [:]
    var count = 0
    var refused: UInt64 = 0
  }

  private let state = Mutex(State())
  private let limit: Int

  public init(seriesLimit: Int = MetricRegistry.seriesLimit) {
    limit = seriesLimit
  }

  /// Makes this registry the one of all metrics of the process. Once per process, and in hosts only.
  public func install() {
    MetricsSystem.bootstrap(self)
  }

  /// What a metric means, for its HELP line.
  ///
  /// - Parameter name: as in the exposition, with `_total` or `_seconds`.
  public func describe(_ name: String, _ help: String) {
    state.withLock { $0.help[name] = help }
  }

  /// All metrics in the text exposition format, version 0.0.4.
  public var text: String {
    var exposition = PrometheusText()
    let (families, help, refused) = state.withLock { ($0.families, $0.help, $0.refused) }
    for (name, family) in families.sorted(by: { $0.key < $1.key }) {
      exposition.begin(name, family.kind, help: help[name])
      for (labels, series) in family.series.sorted(by: { $0.key < $1.key }) {
        series.write(into: &exposition, name, labels)
      }
    }
    let name = "relayvpn_metrics_refused_series_total"
    exposition.begin(name, .counter, help: "Series that weren't kept, since there are too many.")
    exposition.sample(name, MetricLabels(), Double(refused))
    return exposition.text
  }

  /// - Returns: the series of that name, kind and labels, made if it isn't there; `nil` if there are too many, or if the
  ///   name belongs to another kind.
  private func series<Series: MetricSeries>(
    _ name: String, _ kind: MetricKind, _ dimensions: [(String, String)], _ make: () -> Series
  ) -> Series? {
    let labels = MetricLabels(dimensions, limit: Self.labelLimit)
    return state.withLock { state in
      if let family = state.families[name] {
        guard family.kind == kind else {
          state.refused += 1
          return nil
        }
        if let known = family.series[labels] { return known as? Series }
      }
      guard state.count < limit else {
        state.refused += 1
        return nil
      }
      let made = make()
      state.count += 1
      state.families[name, default: Family(kind: kind)].series[labels] = made
      return made
    }
  }

  private func remove(_ handler: AnyObject) {
    state.withLock { state in
      for (name, family) in state.families {
        for (labels, series) in family.series where series === handler {
          state.families[name]?.series[labels] = nil
          state.count -= 1
          if state.families[name]?.series.isEmpty == true { state.families[name] = nil }
          return
        }
      }
    }
  }

  // MARK: MetricsFactory

  public func makeCounter(label: String, dimensions: [(String, String)]) -> any CounterHandler {
    series(MetricName.counter(label), .counter, dimensions) { CounterSeries() } ?? NOOPMetricsHandler.instance
  }

  public func makeFloatingPointCounter(
    label: String, dimensions: [(String, String)]
  ) -> any FloatingPointCounterHandler {
    series(MetricName.counter(label), .counter, dimensions) { CounterSeries() } ?? NOOPMetricsHandler.instance
  }

  public func makeMeter(label: String, dimensions: [(String, String)]) -> any MeterHandler {
    series(MetricName.plain(label), .gauge, dimensions) { GaugeSeries() } ?? NOOPMetricsHandler.instance
  }

  /// Without aggregation the last value counts: a gauge.
  public func makeRecorder(
    label: String, dimensions: [(String, String)], aggregate: Bool
  ) -> any RecorderHandler {
    guard aggregate else {
      return series(MetricName.plain(label), .gauge, dimensions) { GaugeSeries() } ?? NOOPMetricsHandler.instance
    }
    return series(MetricName.plain(label), .histogram, dimensions) { HistogramSeries() } ?? NOOPMetricsHandler.instance
  }

  public func makeTimer(label: String, dimensions: [(String, String)]) -> any TimerHandler {
    series(MetricName.seconds(label), .histogram, dimensions) { HistogramSeries() } ?? NOOPMetricsHandler.instance
  }

  public func destroyCounter(_ handler: any CounterHandler) { remove(handler) }
  public func destroyFloatingPointCounter(_ handler: any FloatingPointCounterHandler) { remove(handler) }
  public func destroyMeter(_ handler: any MeterHandler) { remove(handler) }
  public func destroyRecorder(_ handler: any RecorderHandler) { remove(handler) }
  public func destroyTimer(_ handler: any TimerHandler) { remove(handler) }
}

/// The kinds that the exposition knows and we use.
enum MetricKind: String, Sendable { case counter, gauge, histogram }

/// Names as the exposition allows them: letters, digits, `_` and `:`, and no digit first.
enum MetricName {
  static func plain(_ label: String) -> String {
    let name = String(
      label.unicodeScalars.map { scalar -> Character in
        let isAllowed = scalar.isASCII && (scalar.properties.isAlphabetic || ("0"..."9").contains(scalar))
        return isAllowed || scalar == "_" || scalar == ":" ? Character(scalar) : "_"
      })
    guard let first = name.first, !("0"..."9").contains(first) else { return "_" + name }
    return name
  }

  static func counter(_ label: String) -> String {
    let name = plain(label)
    return name.hasSuffix("_total") ? name : name + "_total"
  }

  static func seconds(_ label: String) -> String {
    let name = plain(label)
    return name.hasSuffix("_seconds") ? name : name + "_seconds"
  }
}

/// The labels of one series, in the order of their names.
struct MetricLabels: Hashable, Comparable, Sendable {
  struct Label: Hashable, Comparable, Sendable {
    let name, value: String

    static func < (left: Label, right: Label) -> Bool {
      (left.name, left.value) < (right.name, right.value)
    }
  }

  let all: [Label]

  init() { all = [] }

  /// - Parameter limit: bytes of a value that are kept.
  init(_ dimensions: [(String, String)], limit: Int = .max) {
    all = dimensions.map { name, value in
      // A colon is for names of metrics only.
      let label = MetricName.plain(name).map { $0 == ":" ? "_" : String($0) }.joined()
      return Label(name: label, value: value.prefix(bytes: limit))
    }.sorted()
  }

  static func < (left: MetricLabels, right: MetricLabels) -> Bool {
    left.all.lexicographicallyPrecedes(right.all)
  }
}
