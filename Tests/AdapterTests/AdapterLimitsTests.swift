import Control
import Framing
import Kernel
import Packet
import Primitives
import Proxy
import Stack
import Synchronization
import Testing
import Tun

@testable import Adapter
@testable import Proxy

/// What happens at each bound of `AdapterConfiguration`.
@Suite(.serialized, .timeLimit(.minutes(2))) struct AdapterLimitsTests {
  private let tooMany = "\(Framing.Refusal.Reason.tooMany)"

  private func pongs(_ packets: [ParsedPacket.Transport]) -> Int {
    packets.count { if case .icmp(.echoReply) = $0 { true } else { false } }
  }

  @Test func sitesAreBounded() throws {
    let bench = CoreBench { $0.sessions = 2 }
    var north = try bench.attach("north")
    _ = try bench.attach("south")
    #expect(throws: AdapterError.tooManySites(2)) { _ = try bench.attach("west") }
    // A new session of a site takes its old one's place.
    _ = try bench.attach("south")
    let count = bench.core.sites.count
    #expect(count == 2)
    let alias = try #require(bench.alias(of: "north"))
    bench.ping(1, to: alias)
    try bench.exchange(&north)
    try bench.exchange(&north)
    #expect(pongs(try bench.sent()) == 1)
    bench.core.endSite(north.id, .cut, now: bench.now)
    _ = try bench.attach("west")
    #expect(bench.close() == 0)
  }

  @Test func pingsUnderWayAreBounded() throws {
    let bench = CoreBench { $0.echoFlows = 3 }
    var site = try bench.attach("north")
    let alias = try #require(bench.alias(of: "north"))
    for round in 1...4 {
      for identifier in 1...5 as ClosedRange<UInt16> { bench.ping(identifier, to: alias) }
      try bench.exchange(&site)
      try bench.exchange(&site)
      // Those that are under way go on, the others are dropped and counted, with a reason.
      #expect(pongs(try bench.sent()) == 3)
      let (counts, flows) = (bench.core.refusals.counts, bench.core.flowCount)
      #expect(counts == [tooMany: UInt64(2 * round)] && flows == 3)
    }
    let reason = bench.core.refusals.entries.last?.reason
    #expect(reason?.contains("3 pings are under way") == true)
    // Once they have ended, others have their place.
    bench.now = bench.now + .seconds(21)
    bench.core.handleTimeout(now: bench.now)
    bench.ping(9, to: alias)
    try bench.exchange(&site)
    try bench.exchange(&site)
    let flows = bench.core.flowCount
    #expect(try pongs(bench.sent()) == 1 && flows == 1)
    #expect(bench.close() == 0)
  }

  @Test func theFlowTableIsBounded() async throws {
    let bench = CoreBench {
      $0.stack.tcpFlows = 4
      $0.stack.udpFlows = 3
      $0.echoFlows = 2
      $0.localStreams = 5
    }
    var site = try bench.attach("north")
    let alias = try #require(bench.alias(of: "north"))
    let streams = (0..<15).map { _ in LocalStreamCore(limit: 100) { _ in } }
    for stream in streams { bench.core.openLocal(stream, "north", "plc", .port(502), now: bench.now) }
    bench.datagram(from: 1000, to: Endpoint(alias, 53))
    bench.ping(1, to: alias)
    try bench.exchange(&site)
    var flows = bench.core.flowCount
    #expect(flows == 14)
    var refused = 0
    for stream in streams {
      do {
        try await stream.write([1])
      } catch LocalStreamError.refused(let refusal) {
        #expect(refusal.reason == .tooMany)
        refused += 1
      }
    }
    #expect(refused == 1)
    let counts = bench.core.refusals.counts
    #expect(counts == [tooMany: 2], "a datagram's flow and a ping")
    let packets = try bench.sent()
    let isTold = packets.contains { if case .icmp(.destinationUnreachable) = $0 { true } else { false } }
    #expect(isTold, "its application hears of it: \(packets)")
    // A place that is free is taken again.
    for id in bench.core.bindings.ids.prefix(1) { bench.core.resetLocal(id, now: bench.now) }
    bench.ping(2, to: alias)
    try bench.exchange(&site)
    try bench.exchange(&site)
    flows = bench.core.flowCount
    #expect(try pongs(bench.sent()) == 1 && flows == 14)
    #expect(bench.close() == 0)
  }

  @Test func streamsOfASessionAreBoundedForApplications() throws {
    let bench = CoreBench { $0.session.streams = 10 }
    var site = try bench.attach("north")
    let alias = try #require(bench.alias(of: "north"))
    for port in 1...15 as ClosedRange<UInt16> { bench.datagram(from: port, to: Endpoint(alias, 53)) }
    try bench.exchange(&site)
    try bench.exchange(&site)
    let (counts, flows) = (bench.core.refusals.counts, bench.core.flowCount)
    #expect(counts == [tooMany: 5] && flows == 10)
    let packets = try bench.sent()
    let answers = packets.count { if case .udp = $0 { true } else { false } }
    let errors = packets.count { if case .icmp(.destinationUnreachable) = $0 { true } else { false } }
    #expect(answers == 10 && errors == 5, "\(packets)")
    #expect(bench.close() == 0)
  }

  @Test func reportsThatNobodyTakesAreBounded() throws {
    let bench = CoreBench()
    for port in 1...3000 as ClosedRange<UInt16> {
      bench.datagram(from: port, to: Endpoint(IPAddress(198, 18, 99, 99), 53))
    }
    var status = bench.core.status
    #expect(status.reportsDropped == UInt64(3000 - FlowReports.limit))
    #expect(status.refusals == ["no agent": 3000] && status.recentRefusals.count == 1)
    var taken = 0
    while bench.core.nextReport() != nil { taken += 1 }
    #expect(taken == FlowReports.limit)
    bench.datagram(from: 4000, to: Endpoint(IPAddress(198, 18, 99, 99), 53))
    let next = bench.core.nextReport()
    status = bench.core.status
    #expect(next != nil && status.reportsDropped == UInt64(3000 - FlowReports.limit))
    #expect(bench.close() == 0)
  }

  @Test func aStatusTellsOfSoManyFlows() throws {
    let bench = CoreBench()
    var site = try bench.attach("north")
    let alias = try #require(bench.alias(of: "north"))
    for port in 1...30 as ClosedRange<UInt16> { bench.datagram(from: port, to: Endpoint(alias, 53)) }
    try bench.exchange(&site)
    let (some, all) = (
      bench.core.describeFlows(limit: 7, now: bench.now), bench.core.describeFlows(limit: 100, now: bench.now)
    )
    #expect(some.count == 7 && all.count == 30)
    #expect(bench.close() == 0)
  }

  @Test func aWriterOfALocalStreamWaits() async throws {
    let stream = LocalStreamCore(limit: 1000) { _ in }
    stream.receiveOpened(SlotID(index: 1, generation: 1))
    try await stream.write([UInt8](repeating: 1, count: 1000))
    let progress = Progress()
    try await withThrowingTaskGroup(of: Void.self) { group in
      group.addTask {
        try await stream.write([2, 3])
        progress.isThrough.store(true, ordering: .releasing)
      }
      try await Task.sleep(for: .milliseconds(100))
      let isEarly = progress.isThrough.load(ordering: .acquiring)
      #expect(!isEarly)
      // As soon as no more than the bound waits.
      var taken = 0
      while !progress.isThrough.load(ordering: .acquiring), taken < 1002 {
        taken += stream.takeOutbound(1).bytes.count
        try await Task.sleep(for: .milliseconds(5))
      }
      #expect(taken >= 2 && taken < 1000, "\(taken)")
      try await group.waitForAll()
    }
  }

  /// A search passes so many aliases that are in its way. Who gets none is named to the user, and may have the other
  /// family's.
  @Test func theSearchForAnAliasIsBounded() {
    // Networks of 4,096 addresses, all that fit: the pool's first and last blocks hold addresses of its own.
    func crowded(searchLimit: Int) -> AliasAllocator {
      var allocator = AliasAllocator(pool: .standard, searchLimit: searchLimit)
      var networks = 0
      while networks < 40, allocator.allocate("s/network\(networks)", hostBits: 12).v4 != nil { networks += 1 }
      #expect(networks == 30 || searchLimit < 100)
      return allocator
    }
    var patient = crowded(searchLimit: AliasAllocator.defaultSearchLimit)
    // What is left lies at the pool's ends, far from most of them.
    let all = (0..<200).map { patient.allocate("s/device\($0)", hostBits: 0) }
    #expect(all.allSatisfy { $0.v4 != nil && $0.v6 != nil })
    var hasty = crowded(searchLimit: 5)
    let some = (0..<200).map { hasty.allocate("s/device\($0)", hostBits: 0) }
    let found = some.count { $0.v4 != nil }
    #expect(found > 20 && found < 180, "\(found)")
    #expect(some.count { $0.v6 != nil } > 190)
  }

  /// A device that always has a packet, a session and the adapter's owner have their turns.
  @Test func aDeviceWithoutEndLeavesOthersTheirTurn() async throws {
    let adapter = try Adapter(device: EndlessDevice(), configuration: AdapterConfiguration())
    let device = try DeviceServer.echo()
    let site = try await TestSite(adapter, tcp: [device.port])
    let stream = try await adapter.connect(to: "site/plc", port: device.port)
    let start = Clock.now
    for round in 0..<50 as Range<UInt8> {
      try await stream.write([round])
      #expect(try await stream.read() == [round])
    }
    #expect(Clock.now - start < .seconds(20))
    let status = await adapter.status
    #expect(status.packetsIn > 1000 && status.refusals["no agent"] != nil)
    #expect(status.pool.slabsInUse < 32)
    stream.reset()
    device.stop()
    withExtendedLifetime(site) { adapter.stop() }
  }
}

private final class Progress: Sendable {
  let isThrough = Atomic(false)
}

/// A device that has a datagram to nowhere each time it is asked.
private struct EndlessDevice: PacketDevice, ~Copyable {
  var descriptor: CInt? { nil }
  var counters = DeviceCounters()
  private var packet: [UInt8]

  init() {
    packet = [UInt8](repeating: 0, count: 28)
    var span = packet.mutableSpan
    IPv4Header(
      source: IPAddress(10, 0, 0, 1), destination: IPAddress(198, 18, 99, 99), protocolNumber: IPProtocol.udp,
      totalLength: 28
    ).write(into: &span)
    var header = [UInt8](repeating: 0, count: 8)
    var udp = header.mutableSpan
    UDPHeader(sourcePort: 5, destinationPort: 53, length: 8).write(into: &udp)
    packet.replaceSubrange(20..<28, with: header)
  }

  mutating func read(into slice: Slice, pool: inout SlabPool) throws(TunError) -> PacketRead {
    let target = slice.prefix(packet.count)
    pool.withMutableSpan(target) { bytes in for index in packet.indices { bytes[index] = packet[index] } }
    return .packet(target, .none)
  }

  mutating func write(
    _ offload: Offload, header: Span<UInt8>, payload: Span<Slice>, pool: inout SlabPool
  ) throws(TunError) -> PacketWrite {
    .written
  }
}
