import Adapter
import Control
import Packet
import Primitives
import Simulation
import Stack
import Testing
import Tun

/// A capture made by our own capture goes through a stack and the filter again.
@Suite(.timeLimit(.minutes(1))) struct ReplayTests {
  private static let agent = AgentDescription(
    name: "plc", target: .device(.v4), tcp: [PortRange(80)!], udp: [PortRange(53)!], icmp: true)

  /// An application's kernel and an adapter's stack, and a capture of what passes between them.
  private struct Scene: ~Copyable {
    var client: Stack
    var server: Stack
    var pool = SlabPool(limit: 64)
    var lane = SlabLane()
    var transmit = Transmit()
    var now = Instant(nanoseconds: 5_000_000_000)
    let capture: Capture
    let interface: Int
    let alias: IPAddress
    var accepted: FlowID?
    var received = 0

    static func make() throws -> Scene {
      var table = AgentTable()
      table.add(site: "plant", agents: [ReplayTests.agent])
      let found = try #require(table.all.first)
      return Scene(of: found, try #require(found.v4).address, try Capture(CaptureConfiguration()))
    }

    private init(of found: AgentAlias, _ alias: IPAddress, _ capture: Capture) {
      self.alias = alias
      self.capture = capture
      var configuration = StackConfiguration()
      configuration.segmentationOffload = true
      configuration.checksumOffload = true
      client = Stack(configuration: configuration, secret: (7, 8))
      server = Stack(configuration: configuration, secret: (9, 10))
      interface = capture.number(
        of: CaptureInterface("plant/plc", description: "", comment: CapturedAgent(found).comment))
    }

    mutating func slice(_ count: Int) -> Slice {
      let region = pool.reserve(count, in: &lane)!
      return pool.commit(region, count: count, in: &lane)
    }

    /// Carries packets until nobody has any.
    mutating func exchange(comment: String = "agent plant/plc; flow 1-1.1; permitted") {
      for _ in 0..<1000 {
        now = now + .milliseconds(1)
        var isIdle = true
        while client.nextTransmit(into: &transmit, pool: &pool, now: now) {
          isIdle = false
          pass(.outbound, comment)
        }
        while let event = server.nextEvent() {
          switch event {
          case .openRequested(let flow, _):
            server.setReceiveCredit(flow, 1 << 20, now: now)
            server.accept(flow, pool: &pool, now: now)
            accepted = flow
          case .datagramFlowRequested(let flow, _):
            server.refuse(flow, .unreachable(.adminProhibited), pool: &pool, now: now)
          case .received(let flow, let slice):
            received += slice.count
            pool.release(slice)
            server.setReceiveCredit(flow, 1 << 20, now: now)
          case .datagram(_, let slice): pool.release(slice)
          default: break
          }
        }
        while server.nextTransmit(into: &transmit, pool: &pool, now: now) {
          isIdle = false
          pass(.inbound, comment)
        }
        while let event = client.nextEvent() {
          if case .received(let flow, let slice) = event {
            pool.release(slice)
            client.setReceiveCredit(flow, 1 << 20, now: now)
          }
        }
        if isIdle { return }
      }
    }

    private mutating func pass(_ direction: PacketDirection, _ comment: String) {
      var bytes: [UInt8] = []
      transmit.withHeader { header in for index in header.indices { bytes.append(header[index]) } }
      for part in transmit.payload { bytes += pool.array(part) }
      let offload = transmit.offload
      transmit.clear(pool: &pool)
      capture.record(
        interface, direction, at: now.nanoseconds, comment: Array(comment.utf8), offload: offload, header: bytes.span,
        pool: pool)
      let packet = pool.copy(bytes.span, in: &lane)!
      if direction == .outbound {
        server.receive(packet, offload: offload, pool: &pool, now: now)
      } else {
        client.receive(packet, offload: offload, pool: &pool, now: now)
      }
      pool.release(packet)
    }
  }

  @Test func `a connection is replayed byte for byte, with its verdict and its end`() throws {
    var scene = try Scene.make()
    let (application, device) = (Endpoint(IPAddress(10, 0, 0, 1), 40_000), Endpoint(scene.alias, 80))
    let flow = try scene.client.connect(from: application, to: device, now: scene.now)
    scene.exchange()
    let requested = scene.accepted
    let accepted = try #require(requested)
    for _ in 0..<5 {
      scene.client.send(flow, scene.slice(40_000), pool: &scene.pool, now: scene.now)
      scene.server.send(accepted, scene.slice(10_007), pool: &scene.pool, now: scene.now)
      scene.exchange()
    }
    scene.client.finish(flow, now: scene.now)
    scene.server.finish(accepted, now: scene.now)
    scene.exchange()
    #expect(scene.received == 200_000)
    scene.capture.stop()
    let outcome = try Replay.run(try CapturedBytes.of(scene.capture))
    #expect(outcome.verdicts == ["tcp \(application) > \(device): permitted by agent plant/plc"])
    #expect(outcome.bytesFromApplications == 200_000 && outcome.bytesToApplications == 50_035)
    #expect(outcome.events.contains { $0.hasSuffix("established") })
    #expect(outcome.events.contains { $0.hasSuffix("closed") }, "\(outcome.events)")
    #expect(outcome.drops == [:] && outcome.disagreements == [] && outcome.slabsHeld == 0 && outcome.skipped == 0)
  }

  @Test func `a verdict that is another today is told`() throws {
    var scene = try Scene.make()
    let application = Endpoint(IPAddress(10, 0, 0, 1), 40_000)
    _ = try scene.client.connect(from: application, to: Endpoint(scene.alias, 81), now: scene.now)
    scene.exchange()
    scene.capture.stop()
    let outcome = try Replay.run(try CapturedBytes.of(scene.capture))
    #expect(
      outcome.verdicts.count == 1 && outcome.verdicts[0].contains("denied: agent plant/plc permits tcp 80, not 81"))
    #expect(outcome.disagreements.count == 1)
  }

  @Test func `bytes that were changed come to an end, without a trap and without a slab held`() throws {
    var scene = try Scene.make()
    let flow = try scene.client.connect(
      from: Endpoint(IPAddress(10, 0, 0, 1), 40_000), to: Endpoint(scene.alias, 80), now: scene.now)
    scene.exchange()
    scene.client.send(flow, scene.slice(5000), pool: &scene.pool, now: scene.now)
    scene.exchange()
    scene.capture.stop()
    let bytes = try CapturedBytes.of(scene.capture)
    var random = SeededRandom(seed: 3)
    for _ in 0..<1000 {
      var changed = bytes
      for _ in 0..<Int.random(in: 1...20, using: &random) {
        changed[Int.random(in: 0..<changed.count, using: &random)] = UInt8.random(in: 0...255, using: &random)
      }
      guard let outcome = try? Replay.run(changed) else { continue }
      #expect(outcome.slabsHeld == 0)
    }
  }
}
