/// Writes metrics in Prometheus' text exposition format, version 0.0.4.
///
/// https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format
struct PrometheusText {
  private(set) var text = ""

  /// Begins a metric: its samples follow, and no other metric's in between.
  mutating func begin(_ name: String, _ kind: MetricKind, help: String?) {
    if let help { text += "# HELP \(name) \(Self.escaped(help, quote: false))\n" }
    text += "# TYPE \(name) \(kind.rawValue)\n"
  }

  /// - Parameter extra: a label behind the others, `le` of a bucket.
  mutating func sample(
    _ name: String, _ labels: MetricLabels, _ value: Double, extra: (name: String, value: String)? = nil
  ) {
    var pairs = labels.all.map { "\($0.name)=\"\(Self.escaped($0.value, quote: true))\"" }
    if let extra { pairs.append("\(extra.name)=\"\(extra.value)\"") }
    text += name
    if !pairs.isEmpty { text += "{" + pairs.joined(separator: ",") + "}" }
    text += " \(Self.number(value))\n"
  }

  /// A float as Go's strconv.ParseFloat reads it; whole numbers without a fraction.
  static func number(_ value: Double) -> String {
    if value.isNaN { return "NaN" }
    if value.isInfinite { return value > 0 ? "+Inf" : "-Inf" }
    if value == value.rounded(), abs(value) < 1e15 { return String(Int64(value)) }
    return "\(value)"
  }

  /// HELP texts escape backslash and line feed; values of labels the double quote as well.
  private static func escaped(_ text: String, quote: Bool) -> String {
    var result = ""
    for scalar in text.unicodeScalars {
      switch scalar {
      case "\\": result += "\\\\"
      case "\n": result += "\\n"
      case "\"" where quote: result += "\\\""
      default: result.unicodeScalars.append(scalar)
      }
    }
    return result
  }
}
