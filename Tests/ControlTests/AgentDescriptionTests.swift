import Control
import Foundation
import Testing

@Suite struct AgentDescriptionTests {
  @Test(arguments: [("80", 80, 80), ("1-65535", 1, 65535), ("*", 1, 65535), ("8000-8010", 8000, 8010)])
  func portRangesAreRead(text: String, lower: UInt16, upper: UInt16) throws {
    let range = try #require(PortRange(text))
    #expect(range.lower == lower && range.upper == upper)
    #expect(PortRange(range.description) == range)
    #expect(range.contains(lower) && range.contains(upper))
    #expect(!range.contains(lower - 1))
  }

  @Test(arguments: ["", "0", "-", "1-", "-1", "10-9", "65536", "1-2-3", "+1", " 1", "1 - 2", "0-5", "x"])
  func otherTextIsNoPortRange(text: String) {
    #expect(PortRange(text) == nil)
  }

  @Test(arguments: ["plc", "PLC-1.hall_3", "7", String(repeating: "a", count: 64)])
  func namesAreSimple(name: String) {
    #expect(AgentDescription.isValidName(name))
  }

  @Test func interfacesSurviveAndOlderVersionsSeeNothingToReach() throws {
    let access = InterfaceAccess(discovery: ["dcp", "of-a-later-version"], assignment: true)
    var agent = AgentDescription(name: "cell", target: .interface(access))
    agent.capture = true
    let bytes = try JSONEncoder().encode(agent)
    #expect(try JSONDecoder().decode(AgentDescription.self, from: bytes) == agent)
    let fields = try #require(try JSONSerialization.jsonObject(with: bytes) as? [String: Any])
    #expect(fields["kind"] as? String == "device" && fields["family"] as? Int == 4)
    #expect((fields["tcp"] as? [String])?.isEmpty == true && fields["icmp"] as? Bool == false)
  }

  @Test(arguments: [#"["a b"]"#, "[\((0..<33).map { "\"m\($0)\"" }.joined(separator: ","))]"])
  func waysToFindDevicesAreBoundedNames(list: String) {
    let text = #"{"name":"a","kind":"device","family":4,"interface":{"discovery":\#(list)}}"#
    #expect(throws: DecodingError.self) {
      try JSONDecoder().decode(AgentDescription.self, from: Data(text.utf8))
    }
  }

  @Test(arguments: ["", "-a", ".a", "a b", "a/b", "ä", "a\n", String(repeating: "a", count: 65)])
  func otherNamesAreRefused(name: String) {
    #expect(!AgentDescription.isValidName(name))
  }
}
