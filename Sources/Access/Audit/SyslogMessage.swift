/// An entry of the audit as a message of RFC 5424. No text of a peer can make a second one, or a field of its own.
public enum SyslogMessage {
  /// Security and authorisation, RFC 5424 table 1.
  private static let facility = 10
  /// Whose structured data it is: the example number of RFC 5612, as this project has none of its own.
  private static let structureID = "audit@32473"

  /// - Parameters:
  ///   - host: the name that stands as HOSTNAME.
  /// - Returns: printable characters, without an end of line. Framing is the transport's business (RFC 6587, RFC 5425).
  public static func text(_ entry: AuditEntry, host: String) -> String {
    let event = entry.event
    let priority = facility * 8 + event.kind.severity
    let time = UTCText.timestamp(microseconds: entry.time)
    var data = "[\(structureID)"
    func add(_ name: String, _ value: String?) {
      guard let value else { return }
      data += " \(name)=\"\(escaped(value))\""
    }
    add("number", "\(entry.number)")
    add("account", event.account)
    add("pc", event.pc)
    add("key", event.key)
    add("address", event.address)
    add("site", event.site)
    add("agents", event.agents?.joined(separator: " "))
    add("session", event.session)
    add("reason", event.reason)
    add("operation", event.operation)
    add("object", event.object)
    add("rules", event.rules.map { $0.map { "\($0)" }.joined(separator: " ") })
    add("bytesFromLink", event.bytesFromLink.map { "\($0)" })
    add("bytesFromSite", event.bytesFromSite.map { "\($0)" })
    add("milliseconds", event.milliseconds.map { "\($0)" })
    add("count", event.count.map { "\($0)" })
    data += "]"
    return "<\(priority)>1 \(time) \(name(host, 255)) relayvpn-gate - \(event.kind.rawValue) \(data)"
  }

  /// Section 6: printable US-ASCII without spaces, `-` for nothing.
  private static func name(_ text: String, _ limit: Int) -> String {
    let bytes = text.utf8.prefix(limit).map { (33...126).contains($0) ? $0 : UInt8(ascii: "_") }
    return bytes.isEmpty ? "-" : String(decoding: bytes, as: UTF8.self)
  }

  /// Section 6.3.3 has backslashes before `"`, `\` and `]`. Control characters, among them the ends of lines that some
  /// receivers cut messages at, become `\u{…}` of their own.
  private static func escaped(_ text: String) -> String {
    var result = ""
    for scalar in text.unicodeScalars {
      switch scalar {
      case "\"", "\\", "]":
        result += "\\"
        result.unicodeScalars.append(scalar)
      default:
        switch scalar.properties.generalCategory {
        case .control, .format, .lineSeparator, .paragraphSeparator, .surrogate, .privateUse, .unassigned:
          result += "\\\\u{\(String(scalar.value, radix: 16))}"
        default: result.unicodeScalars.append(scalar)
        }
      }
    }
    return result
  }
}
