import Control
import Framing
import Packet
import Primitives
import Proxy
import Simulation
import Stack
import Testing
import Tun

@testable import Adapter

/// Captures of an adapter's core: which packets they get, and what is said of them.
@Suite struct AdapterTapsTests {
  private static func capture(_ change: (inout CaptureConfiguration) -> Void = { _ in }) throws -> Capture {
    var configuration = CaptureConfiguration()
    configuration.memory = 64 << 10
    change(&configuration)
    return try Capture(configuration)
  }

  /// The comments of a capture, in order, with the interface of each.
  private static func comments(_ capture: Capture) throws -> [String] {
    capture.stop()
    let bytes = try CapturedBytes.of(capture)
    var reader = PcapngReader()
    var found: [String] = []
    while let packet = try reader.next(in: bytes.span) {
      found.append("\(reader.interfaces[packet.interface].name): \(packet.comments.joined())")
    }
    return found
  }

  @Test func `packets are named by agent, flow and verdict, and chosen by them`() throws {
    let bench = CoreBench()
    var one = try bench.attach("one")
    var two = try bench.attach("two")
    let aliases = (try #require(bench.alias(of: "one")), try #require(bench.alias(of: "two")))
    bench.datagram(from: 1, to: Endpoint(aliases.0, 53))
    let (all, ofTwo, drops) = (
      try Self.capture(), try Self.capture { $0.agent = "two/plc" }, try Self.capture { $0.onlyDrops = true }
    )
    for capture in [all, ofTwo, drops] {
      let isAdded = bench.core.add(capture)
      #expect(isAdded)
    }
    bench.datagram(from: 1, to: Endpoint(aliases.0, 53))
    bench.datagram(from: 2, to: Endpoint(aliases.1, 53))
    bench.datagram(from: 3, to: Endpoint(IPAddress(198, 18, 200, 200), 53))
    try bench.exchange(&one)
    try bench.exchange(&two)
    _ = try bench.sent()
    let session = { (site: borrowing CoreBench.Site) in
      bench.core.sites[site.id].session.map { String("\($0)".prefix(8)) } ?? ""
    }
    let names = (session(one), session(two))
    let first = "one/plc: agent one/plc; flow \(names.0)-1.1; permitted"
    let second = "two/plc: agent two/plc; flow \(names.1)-1.1; permitted"
    let third = "adapter: denied: no agent of a connected site has the address 198.18.200.200"
    let answers = try Self.comments(all)
    #expect(answers.prefix(3) == [first, second, third])
    #expect(answers.dropFirst(3).contains(first + "; checksum not computed") || answers.dropFirst(3).contains(first))
    let seen = try Self.comments(ofTwo)
    #expect(seen.count >= 2 && seen.allSatisfy { $0.hasPrefix(second) }, "\(seen)")
    // The packet and the ICMP error that answers it.
    let dropped = try Self.comments(drops)
    #expect(!dropped.isEmpty && dropped.allSatisfy { $0 == third }, "\(dropped)")
    bench.core.remove(all)
    let left = bench.core.taps.captures.count
    #expect(left == 2)
    #expect(bench.close() == 0)
  }

  @Test func `captures are bounded, and flows that are remembered`() throws {
    let bench = CoreBench()
    let site = try bench.attach("one")
    for number in 0...AdapterTaps.limit {
      let isAdded = bench.core.add(try Self.capture())
      #expect(isAdded == (number < AdapterTaps.limit))
    }
    let application = Endpoint(CoreBench.application, 9)
    for number in 0..<(AdapterTaps.flowLimit + 10) {
      let far = Endpoint(IPAddress(v4: 0x0A00_0000 + UInt32(number)), 1)
      bench.core.note(
        FiveTuple(protocol: .udp, source: application, destination: far), name: nil, "denied", isDrop: true)
    }
    let isFull = bench.core.taps.isFull
    #expect(!isFull)
    _ = site.id
    #expect(bench.close() == 0)
  }

  @Test func `more open flows than are remembered cost names, not time`() throws {
    let bench = CoreBench()
    let site = try bench.attach("one")
    let alias = try #require(bench.alias(of: "one"))
    for port in 1...10 as ClosedRange<UInt16> { bench.datagram(from: port, to: Endpoint(alias, 53)) }
    bench.core.taps.capacity = 8
    let capture = try Self.capture()
    let isAdded = bench.core.add(capture)
    #expect(isAdded)
    // They are noted anew for one flow in three, and no oftener.
    for (port, expected) in zip(100...105 as ClosedRange<UInt16>, [2, 1, 0, 2, 1, 0]) {
      let patience = bench.core.taps.patience
      let isFull = bench.core.taps.isFull
      #expect(patience == expected && isFull, "\(patience) \(expected)")
      bench.datagram(from: port, to: Endpoint(IPAddress(198, 18, 200, 200), 53))
    }
    let comments = try Self.comments(capture)
    #expect(comments.count >= 6 && comments.allSatisfy { $0.hasPrefix("adapter: ") }, "\(comments)")
    _ = site.id
    #expect(bench.close() == 0)
  }

  @Test func `packets of no flow name the agent that is there now`() throws {
    let bench = CoreBench()
    let site = try bench.attach("one")
    let alias = try #require(bench.core.table.all.first)
    let place = try #require(alias.v4?.address)
    let isAdded = bench.core.add(try Self.capture())
    #expect(isAdded)
    let tuple = FiveTuple(
      protocol: .udp, source: Endpoint(CoreBench.application, 7), destination: Endpoint(place, 7))
    let table = bench.core.table
    for _ in 0..<2 {
      let flow = bench.core.taps.flow(of: tuple, .outbound, table)
      #expect(flow.agent == alias && flow.interfaces == [0])
      let other = bench.core.taps.flow(of: tuple, .outbound, AgentTable())
      #expect(other.agent == nil && other.interfaces == [1])
    }
    _ = site.id
    #expect(bench.close() == 0)
  }

  @Test func `an agent is read back from the comment of its interface`() throws {
    for agent in [
      CoreBench.agent,
      AgentDescription(
        name: "net", target: .subnet(.v4, prefixLength: 24), tcp: [PortRange(80)!, PortRange(8000, 8010)!], icmp: false),
    ] {
      let alias = AgentAlias(
        site: "plant", agent: agent, v4: IPPrefix("198.18.3.0/24"), v6: IPPrefix("fd00::7/128"))
      let captured = CapturedAgent(alias)
      #expect(CapturedAgent(comment: captured.comment) == captured)
    }
    for text in ["", "relayvpn-agent", "relayvpn-agent site=a agent=b kind=device family=5", "another site=a agent=b"] {
      #expect(CapturedAgent(comment: text) == nil)
    }
  }

  @Test func `any bytes are peeked into`() {
    var random = SeededRandom(seed: 5)
    for _ in 0..<20_000 {
      var bytes = (0..<Int.random(in: 0...90, using: &random)).map { _ in UInt8.random(in: 0...255, using: &random) }
      if let first = bytes.first { bytes[0] = first & 0xF | (first & 0x10 == 0 ? 0x40 : 0x60) }
      _ = FiveTuple(peeking: bytes.span)
    }
  }
}
