import Testing

@testable import Access

@Suite struct SyslogMessageTests {
  @Test func anEntryIsOneMessage() {
    var event = AuditEvent(.connect, account: "ann")
    event.site = "north"
    event.agents = ["plc", "panel"]
    event.reason = "valve \"7\" \\ [sticks]"
    event.rules = [3, 4]
    event.bytesFromLink = 5
    let entry = AuditEntry(number: 17, time: 1_774_746_000_000_042, event: event)
    #expect(
      SyslogMessage.text(entry, host: "gm.example") == """
        <85>1 2026-03-29T01:00:00.000042Z gm.example relayvpn-gate - connect [audit@32473 number="17" account="ann" \
        site="north" agents="plc panel" reason="valve \\"7\\" \\\\ [sticks\\]" rules="3 4" bytesFromLink="5"]
        """)
    #expect(
      SyslogMessage.text(.init(number: 1, time: -1, event: AuditEvent(.refusal)), host: "").hasPrefix(
        "<84>1 1969-12-31T23:59:59.999999Z - "))
  }

  /// Whatever peers say: one line, one element, no field that they made.
  @Test func peersCannotForgeLines() {
    let nasty = [
      "x\n<85>1 2026-01-01T00:00:00Z gm relayvpn-gate - login [audit@32473 number=\"1\"]", "x\"] fake=\"1", "a\\",
      "\\\"",
      "\u{0}\u{7F}\u{85}\u{2028}\u{2029}\u{202E}\u{FEFF}", "\r\n", "é✓", "]]]\"\"\"\\\\",
    ]
    for text in nasty {
      var event = AuditEvent(.login, account: text)
      event.pc = text
      event.reason = text
      let message = SyslogMessage.text(AuditEntry(number: 1, time: 0, event: event), host: text)
      #expect(
        message.unicodeScalars.allSatisfy {
          $0.value >= 32 && $0.value != 127 && $0.value != 0x85 && !(0x2028...0x202E).contains($0.value)
        })
      #expect(parameters(message)?.map(\.0) == ["number", "account", "pc", "reason"], "\(message)")
    }
  }

  /// Reads the structured data as section 6.3.3 says; `nil` if it isn't like that.
  private func parameters(_ message: String) -> [(String, String)]? {
    // No field before it has a space.
    guard let start = message.firstRange(of: " [") else { return nil }
    var rest = message[start.upperBound...]
    guard let space = rest.firstIndex(of: " "), rest[..<space] == "audit@32473" else { return nil }
    rest = rest[space...]
    var found: [(String, String)] = []
    while rest.first == " " {
      rest.removeFirst()
      guard let equals = rest.firstIndex(of: "=") else { return nil }
      let name = String(rest[..<equals])
      rest = rest[equals...].dropFirst()
      guard rest.popFirst() == "\"" else { return nil }
      var value = ""
      while let next = rest.popFirst(), next != "\"" {
        if next == "]" { return nil }
        if next == "\\" {
          guard let escaped = rest.popFirst(), "\"\\]".contains(escaped) else { return nil }
          value.append(escaped)
        } else {
          value.append(next)
        }
      }
      found.append((name, value))
    }
    return rest == "]" ? found : nil
  }
}
