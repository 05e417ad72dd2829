import Primitives
import Testing

@testable import Adapter

@Suite struct HostNetworkTests {
  private func clash(_ prefix: String, _ address: String? = nil) throws -> AdapterError? {
    let network = HostNetwork(
      try #require(IPPrefix(prefix)), address: address.flatMap { IPAddress($0) }, link: "eth0")
    return AliasPool.standard.clash(with: [network])
  }

  @Test func onlyWhatCantBeKeptOutOfIsAnError() throws {
    // A part of the pool without the adapter's own address: aliases have room elsewhere.
    for prefix in ["198.18.5.0/24", "198.19.0.0/16", "198.18.0.2/32", "fd72:656c:6179:5::/64"] {
      #expect(try clash(prefix) == nil, "\(prefix)")
    }
    for prefix in [
      "198.18.0.0/15", "198.18.0.0/24", "198.18.0.0/16", "198.0.0.0/8", "fd72:656c:6179::/64", "fd72::/16",
    ] {
      #expect(try clash(prefix) != nil, "\(prefix)")
    }
  }

  @Test func bothSidesAreNamed() throws {
    #expect(
      try clash("198.18.0.0/24", "198.18.0.77").map { "\($0)" }
        == "aliases come from 198.18.0.0/15, and this host has the address 198.18.0.77/24 on eth0: choose another pool")
    #expect(
      try clash("198.18.0.0/15").map { "\($0)" }
        == "aliases come from 198.18.0.0/15, and this host has a route to 198.18.0.0/15 by eth0: choose another pool")
    let other = try clash("198.18.0.0/15", "198.18.0.1").map { "\($0)" }
    #expect(other?.contains("so do those of another LinkManager on this host") == true, "\(other ?? "")")
  }

  @Test func whatLeavesRoomIsAvoided() throws {
    let networks = try ["198.18.5.0/24", "198.18.0.0/15", "198.0.0.0/8", "fd72:656c:6179:5::/64"].map {
      HostNetwork(try #require(IPPrefix($0)), link: "eth0")
    }
    #expect(
      AliasPool.standard.avoidable(networks).map(\.description) == ["198.18.5.0/24", "fd72:656c:6179:5::/64"])
  }
}
