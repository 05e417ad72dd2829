import Glibc
import Service
import Testing
import Tun

@testable import SiteManager

@Suite(.enabled(if: geteuid() == 0, "needs root")) struct InterfaceTapTests {
  /// Each is nonsense for packets without an Ethernet header.
  @Test(arguments: ["arp", "ether proto 0x8892", "vlan 10"])
  func filtersAreForWhatTheInterfaceHas(filter: String) throws {
    let tap = try InterfaceTap("lo", for: CaptureRequest(["filter": filter]))
    #expect(tap.capture.configuration.linkType == .ethernet)
  }

  @Test func aBadFilterIsSaidToBeOne() {
    let failure = #expect(throws: CommandFailure.self) {
      _ = try InterfaceTap("lo", for: CaptureRequest(["filter": "no such filter"]))
    }
    #expect(failure?.exitCode == .data)
  }
}
