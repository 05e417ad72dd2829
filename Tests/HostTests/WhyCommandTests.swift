import Testing

@testable import LinkManager

@Suite struct WhyCommandTests {
  @Test(arguments: [
    ("198.18.4.7:502", ["address": "198.18.4.7", "port": "502"]), ("198.18.4.7", ["address": "198.18.4.7"]),
    ("[fd72::47]:80", ["address": "fd72::47", "port": "80"]),
    ("plant-7/plc:502", ["site": "plant-7", "agent": "plc", "port": "502"]),
    ("plant-7/plc", ["site": "plant-7", "agent": "plc"]),
  ])
  func destinationsAreRead(text: String, arguments: [String: String]) {
    #expect(WhyCommand.parse(text) == arguments)
  }

  @Test(arguments: [
    "", "/", "plant-7/", "/plc", "plant-7/plc:", "plant-7/plc:65536", "plant-7/:80", "plant-7", "1.2.3",
  ])
  func otherTextIsNoDestination(text: String) {
    #expect(WhyCommand.parse(text) == nil)
  }
}
