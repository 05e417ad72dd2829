import Control
import Framing
import Primitives
import Testing

@testable import Proxy

/// Layer 2 connections at a site whose interface isn't there: they wait for it.
@Suite(.serialized, .timeLimit(.minutes(1))) struct SiteEthernetTests {
  private static let rule = SiteRule(
    agent: "cell", interface: SiteInterface("rv-none", InterfaceAccess(ethernet: EthernetAccess(types: ["0x88b5"]))))

  @Test func connectionsOfASessionAreBounded() throws {
    var link = try LinkEnd.join(rules: [Self.rule])
    let request = OpenRequest(agent: "cell", protocol: .ethernet)
    for _ in 0..<EthernetFlows.limit {
      let id = try link.peer.session.open(request, tag: 0)
      _ = try link.next { $0 == .opened(id) }
    }
    let refused = try link.refusal(of: try link.peer.session.open(request, tag: 0))
    #expect(refused?.reason == .tooMany)
    link.site.end("done")
    let left = link.close()
    #expect(left == 0)
  }

  @Test func aConnectionEndsWithItsRule() throws {
    var link = try LinkEnd.join(rules: [Self.rule])
    let id = try link.peer.session.open(OpenRequest(agent: "cell", protocol: .ethernet), tag: 0)
    _ = try link.next { $0 == .opened(id) }
    link.site.replaceRules([
      SiteRule(
        agent: "cell", interface: SiteInterface("rv-none", InterfaceAccess(ethernet: EthernetAccess(types: ["arp"]))))
    ])
    _ = try link.next { $0 == .reset(id, .revoked) }
    link.site.end("done")
    let left = link.close()
    #expect(left == 0)
  }
}
