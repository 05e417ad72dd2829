import Control
import Primitives
import Testing

@testable import Adapter

@Suite struct ExplanationTests {
  private static let alias = AgentAlias(
    site: "hall",
    agent: AgentDescription(
      name: "plc", target: .device(.v4), tcp: [PortRange(102)!, PortRange(8000, 8010)!], icmp: false),
    v4: IPPrefix("198.18.1.1"), v6: nil)
  private static let place = Endpoint(IPAddress(198, 18, 1, 1), 102)

  private func text(
    _ verdict: Verdict, _ transport: TransportProtocol = .tcp, last: AdapterStatus.RefusedFlow? = nil
  ) -> String {
    Explanation(transport: transport, destination: Self.place, verdict: verdict, lastRefusal: last).description
  }

  @Test func namesTheAgentThatPermits() {
    #expect(
      text(.permitted(Self.alias, hostOffset: nil)) == "tcp 198.18.1.1:102: permitted by agent hall/plc")
    #expect(text(.permitted(Self.alias, hostOffset: 7)).hasSuffix("(host 7 of its subnet)"))
    #expect(text(.permitted(Self.alias, hostOffset: nil), .icmp).hasPrefix("ping 198.18.1.1: permitted"))
  }

  @Test func namesTheRuleThatDenies() {
    #expect(
      text(.denied(.portNotPermitted(Self.alias, .tcp, 80)))
        == "tcp 198.18.1.1:102: denied: agent hall/plc permits tcp 102, 8000-8010, not 80")
    #expect(text(.denied(.portNotPermitted(Self.alias, .udp, 53)), .udp).hasSuffix("permits no udp port, not 53"))
    #expect(text(.denied(.echoNotPermitted(Self.alias)), .icmp).hasSuffix("agent hall/plc doesn't permit ping"))
    #expect(
      text(.denied(.noAgent(Self.place.address))).hasSuffix("no agent of a connected site has the address 198.18.1.1"))
  }

  @Test func tellsWhatHappenedLast() {
    let refused = AdapterStatus.RefusedFlow(
      transport: .tcp, destination: Self.place, reason: "the device refused the connection", count: 1, last: .zero)
    #expect(
      text(.permitted(Self.alias, hostOffset: nil), last: refused).hasSuffix(
        "; last refused: the device refused the connection"))
    // Where the filter denies, the filter is the reason.
    #expect(!text(.denied(.noAgent(Self.place.address)), last: refused).contains("last refused"))
  }

  @Test func theLogKeepsTheLatestOfEachKind() {
    var log = RefusalLog(limit: 3)
    for port in [1, 2, 3, 1, 4] as [UInt16] {
      log.add(
        .tcp, Endpoint(Self.place.address, port), label: "x", reason: "r", connection: nil, now: Instant(nanoseconds: 5)
      )
    }
    #expect(log.entries.map(\.destination.port) == [3, 1, 4])
    #expect(log.entries.map(\.count) == [1, 2, 1])
    #expect(log.counts == ["x": 5])
  }
}
