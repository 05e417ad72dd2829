/// Reads Prometheus' text exposition format, version 0.0.4, and refuses what a strict reader would.
struct Exposition {
  struct Failure: Error, CustomStringConvertible {
    let line: Int
    let description: String
  }

  struct Metric {
    var kind: String
    var help: String?
    /// By name and labels, as written.
    var samples: [String: Double] = [:]
  }

  private(set) var metrics: [String: Metric] = [:]

  init(_ text: String) throws(Failure) {
    guard text.hasSuffix("\n") else { throw Failure(line: 0, description: "no line feed at the end") }
    var current: String?
    var help: (name: String, text: String)?
    for (index, line) in text.split(separator: "\n", omittingEmptySubsequences: false).dropLast().enumerated() {
      func fail(_ what: String) -> Failure { Failure(line: index + 1, description: "\(what): \(line)") }
      let words = line.split(separator: " ", maxSplits: 3, omittingEmptySubsequences: false).map(String.init)
      if line.hasPrefix("# HELP ") {
        guard words.count == 4, Self.isName(words[2]), help == nil else { throw fail("bad HELP") }
        help = (words[2], words[3])
      } else if line.hasPrefix("# TYPE ") {
        guard words.count == 4, Self.isName(words[2]), ["counter", "gauge", "histogram"].contains(words[3]),
          metrics[words[2]] == nil, help.map({ $0.name == words[2] }) ?? true
        else { throw fail("bad TYPE") }
        metrics[words[2]] = Metric(kind: words[3], help: help?.text)
        current = words[2]
        help = nil
      } else {
        guard let name = current, help == nil else { throw fail("a sample without TYPE") }
        let (sample, value) = try Self.sample(String(line), index + 1)
        let base = sample.prefix { $0 != "{" }
        let allowed = metrics[name]?.kind == "histogram" ? ["_bucket", "_sum", "_count"].map { name + $0 } : [name]
        guard allowed.contains(String(base)) else { throw fail("a sample of another metric") }
        if metrics[name]?.kind == "counter", value < 0 || !name.hasSuffix("_total") { throw fail("not a counter") }
        guard metrics[name]?.samples.updateValue(value, forKey: sample) == nil else { throw fail("twice") }
      }
    }
    for (name, metric) in metrics where metric.kind == "histogram" {
      for (sample, count) in metric.samples where sample.hasPrefix(name + "_count") {
        let labels = sample.dropFirst(name.count + 6).dropLast().dropFirst()
        let infinite = "\(name)_bucket{\(labels.isEmpty ? "" : labels + ",")le=\"+Inf\"}"
        guard metric.samples[infinite] == count else {
          throw Failure(line: 0, description: "\(sample) isn't the last bucket")
        }
      }
    }
  }

  subscript(sample: String) -> Double? {
    for metric in metrics.values {
      if let value = metric.samples[sample] { return value }
    }
    return nil
  }

  private static func isName(_ text: some StringProtocol, colon: Bool = true) -> Bool {
    guard let first = text.first, !first.isNumber else { return false }
    return text.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber || $0 == "_" || (colon && $0 == ":")) }
  }

  /// `name{label="value",…} number`
  private static func sample(_ line: String, _ number: Int) throws(Failure) -> (String, Double) {
    func fail(_ what: String) -> Failure { Failure(line: number, description: "\(what): \(line)") }
    var rest = line[...]
    let name = rest.prefix { $0 != "{" && $0 != " " }
    guard isName(name) else { throw fail("bad name") }
    rest = rest[name.endIndex...]
    if rest.first == "{" {
      rest.removeFirst()
      var labels: Set<String> = []
      while true {
        let label = rest.prefix { $0 != "=" }
        guard isName(label, colon: false), labels.insert(String(label)).inserted else { throw fail("bad label") }
        rest = rest[label.endIndex...].dropFirst()
        guard rest.popFirst() == "\"" else { throw fail("a value without quotes") }
        while let character = rest.popFirst(), character != "\"" {
          guard character == "\\" else { continue }
          guard let escaped = rest.popFirst(), ["\\", "\"", "n"].contains(escaped) else { throw fail("bad escape") }
        }
        let next = rest.popFirst()
        if next == "}" { break }
        guard next == "," else { throw fail("bad end of a label") }
      }
    }
    let key = String(line[..<rest.startIndex])
    guard rest.popFirst() == " ", let value = Double(rest == "+Inf" ? "inf" : String(rest)) else {
      throw fail("bad value")
    }
    return (key, value)
  }
}
