public import ArgumentParser
internal import Crypto

/// What `metrics` takes: the same options for all hosts.
public struct MetricsOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "Write to a file, which is there in full or not at all: for the textfile collector of node_exporter.",
      valueName: "file"))
  public var output: String?

  public init() {}

  /// What the command is for, in its help.
  public static let discussion = """
    Prints all counters, gauges and histograms in Prometheus' text format. There is no port to scrape: let cron or a \
    timer write a file into the directory that node_exporter's textfile collector reads.
    """

  /// Asks the service for its metrics and writes them.
  public func run(_ client: ManagementClient) throws {
    let text = try client.request(ManagementRequest("metrics"), as: MetricsAnswer.self, timeoutSeconds: 10).text
    guard let output else {
      _ = Output.write(text)
      return
    }
    do throws(CryptoError) {
      // Readable for the collector, which runs as another user; nothing in it is secret.
      try AtomicFile.write(Array(text.utf8), to: output, permissions: 0o644, replacing: true)
    } catch {
      throw CommandFailure(error)
    }
  }
}

/// The service's answer to `metrics`.
public struct MetricsAnswer: Codable, Sendable {
  /// In the text exposition format.
  public var text: String

  public init(_ registry: MetricRegistry) {
    text = registry.text
  }
}
