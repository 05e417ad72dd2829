import CoreMetrics
import Foundation
import Primitives
import Testing

@testable import Service

struct MetricRegistryTests {
  @Test func writesEachKind() throws {
    let registry = MetricRegistry()
    registry.describe("relay_bytes_total", "Bytes that\npassed \\ by.")
    let counter = Counter(label: "relay.bytes", dimensions: [("direction", "in \"quoted\"\n\\")], factory: registry)
    counter.increment(by: 7)
    counter.increment(by: 5)
    Gauge(label: "sessions", factory: registry).record(3)
    Meter(label: "9lives", factory: registry).increment(by: 1.5)
    let timer = Timer(label: "dial", dimensions: [("to", "device")], factory: registry)
    for milliseconds in [1, 3, 40_000, 7_200_000] as [Int64] { timer.recordMilliseconds(milliseconds) }

    let text = registry.text
    let read = try Exposition(text)
    #expect(read[#"relay_bytes_total{direction="in \"quoted\"\n\\"}"#] == 12, "\(text)")
    #expect(read.metrics["relay_bytes_total"]?.help == #"Bytes that\npassed \\ by."#)
    #expect(read["sessions"] == 3 && read["_9lives"] == 1.5)
    #expect(read.metrics["dial_seconds"]?.kind == "histogram")
    #expect(read[#"dial_seconds_bucket{to="device",le="0.001"}"#] == 1)
    #expect(read[#"dial_seconds_bucket{to="device",le="0.005"}"#] == 2)
    #expect(read[#"dial_seconds_bucket{to="device",le="3600"}"#] == 3)
    #expect(read[#"dial_seconds_count{to="device"}"#] == 4)
    #expect(read["relayvpn_metrics_refused_series_total"] == 0)
  }

  @Test func boundsSeries() throws {
    let registry = MetricRegistry(seriesLimit: 3)
    for index in 0..<10 { Counter(label: "a", dimensions: [("n", "\(index)")], factory: registry).increment() }
    // Those that are there go on.
    Counter(label: "a", dimensions: [("n", "2")], factory: registry).increment()
    let read = try Exposition(registry.text)
    #expect(read.metrics["a_total"]?.samples.count == 3)
    #expect(read[#"a_total{n="2"}"#] == 2)
    #expect(read["relayvpn_metrics_refused_series_total"] == 7)
  }

  @Test func boundsALabel() throws {
    let registry = MetricRegistry()
    let limit = MetricRegistry.labelLimit
    Counter(label: "a", dimensions: [("n", String(repeating: "x", count: 1000))], factory: registry).increment()
    // One character without end.
    let marks = "e" + String(repeating: "\u{301}", count: 1000)
    Counter(label: "b", dimensions: [("n", marks)], factory: registry).increment()
    let read = try Exposition(registry.text)
    #expect(read["a_total{n=\"\(String(repeating: "x", count: limit))\"}"] == 1)
    #expect(read.metrics["b_total"]?.samples.keys.allSatisfy { $0.utf8.count < limit + 20 } == true)
  }

  @Test func refusesANameOfTwoKinds() throws {
    let registry = MetricRegistry()
    Gauge(label: "a_total", factory: registry).record(1)
    Counter(label: "a", factory: registry).increment()
    let read = try Exposition(registry.text)
    #expect(read.metrics["a_total"]?.kind == "gauge" && read["relayvpn_metrics_refused_series_total"] == 1)
  }

  @Test func forgetsWhatIsDestroyed() throws {
    let registry = MetricRegistry(seriesLimit: 1)
    let gauge = Gauge(label: "a", factory: registry)
    gauge.record(1)
    gauge.destroy()
    Gauge(label: "b", factory: registry).record(2)
    let read = try Exposition(registry.text)
    #expect(read.metrics["a"] == nil && read["b"] == 2)
  }

  @Test func orderOfLabelsDoesNotMatter() throws {
    let registry = MetricRegistry()
    Counter(label: "a", dimensions: [("x", "1"), ("y", "2")], factory: registry).increment()
    Counter(label: "a", dimensions: [("y", "2"), ("x", "1")], factory: registry).increment()
    #expect(try Exposition(registry.text)[#"a_total{x="1",y="2"}"#] == 2)
  }

  /// Prometheus' own judge, where it is installed.
  @Test(.enabled(if: FileManager.default.isExecutableFile(atPath: "/usr/bin/promtool"), "promtool isn't installed"))
  func promtoolAgrees() throws {
    let registry = MetricRegistry()
    let table = MetricTable<ProcessReport>(ProcessReport.metrics, registry: registry)
    table.record(try #require(ProcessReport.current))
    DurationMetric("relayvpn_dial_seconds", "Time.", registry: registry).record(.milliseconds(3), ("agent", "a\"\n\\é"))
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/promtool")
    process.arguments = ["check", "metrics"]
    let input = Pipe()
    let output = Pipe()
    process.standardInput = input
    process.standardOutput = output
    process.standardError = output
    try process.run()
    input.fileHandleForWriting.write(Data(registry.text.utf8))
    try input.fileHandleForWriting.close()
    let said = output.fileHandleForReading.readDataToEndOfFile()
    process.waitUntilExit()
    #expect(process.terminationStatus == 0 && said.isEmpty, "\(String(decoding: said, as: UTF8.self))")
  }
}

struct MetricTableTests {
  private struct Snapshot {
    var bytes: UInt64
    var sites: [String: Int]
  }

  private let rows: [MetricTable<Snapshot>.Row] = [
    .counter("bytes_total", "Bytes.") { [.value($0.bytes, ("direction", "in"))] },
    .gauge("flows", "Flows.") { $0.sites.map { .value($0.value, ("site", $0.key)) } },
  ]

  @Test func countersGoOnAfterARestartOfTheirSource() throws {
    let registry = MetricRegistry()
    let table = MetricTable(rows, registry: registry)
    for bytes in [10, 25, 25, 4, 6] as [UInt64] { table.record(Snapshot(bytes: bytes, sites: [:])) }
    #expect(try Exposition(registry.text)[#"bytes_total{direction="in"}"#] == 31)
  }

  @Test func gaugesGoWithWhatTheyTellOf() throws {
    let registry = MetricRegistry()
    let table = MetricTable(rows, registry: registry)
    table.record(Snapshot(bytes: 0, sites: ["a": 1, "b": 2]))
    table.record(Snapshot(bytes: 0, sites: ["b": 3]))
    let read = try Exposition(registry.text)
    #expect(read.metrics["flows"]?.samples == [#"flows{site="b"}"#: 3])
    #expect(read.metrics["bytes_total"]?.help == "Bytes.")
  }
}
