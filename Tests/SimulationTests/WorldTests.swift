import Primitives
import Testing

@testable import Simulation

/// Whole connections, from application to device, over the real cores.
@Suite struct WorldTests {
  /// Release builds run 10,000 connections in seconds (`Scenarios/SimulationTests`); these are few of the same.
  @Test(arguments: 1..<9 as Range<UInt64>) func keepsItsPromises(seed: UInt64) {
    let outcome = Campaign.run(seed)
    #expect(outcome.problems == [], "Simulator --seed \(seed) --trace")
    #expect(outcome.complete + outcome.failed + outcome.refused + outcome.late == outcome.connections)
  }

  /// A pool full of segments that wait for one before them; two dials for one connection; a goodbye amid streams.
  @Test(arguments: [1_012_634, 1_047_010, 1_032_323, 1_004_080] as [UInt64])
  func whatOnceFailed(seed: UInt64) {
    let outcome = Campaign.run(seed)
    #expect(outcome.problems == [], "Simulator --seed \(seed) --trace")
  }

  @Test func aSeedTellsEverything() {
    let (first, second) = (Campaign.run(21), Campaign.run(21))
    #expect(first.digest == second.digest && first.steps == second.steps)
    #expect(first.digest != Campaign.run(22).digest)
  }

  private static let size = 20

  enum Side: CaseIterable { case application, device }

  /// Half-close, close and reset by either side, at every byte of what it sends and of what it reads.
  @Test(arguments: Side.allCases, 0..<5) func endsAtEveryPoint(side: Side, kind: Int) throws {
    var connections: [ConnectionPlan] = []
    for point in 0...Self.size {
      let ending: ActorPlan.Ending =
        switch kind {
        case 0: .finishAtRead(point)
        case 1: .closeAtSent(point)
        case 2: .closeAtRead(point)
        case 3: .resetAtSent(point)
        default: .resetAtRead(point)
        }
      // A byte at a time, so that each point comes by itself.
      var ender = ActorPlan()
      ender.size = Self.size
      ender.chunk = 1
      ender.readChunk = 1
      ender.sendPause = .milliseconds(1)
      var other = ender
      ender.ending = ending
      other.ending = .finishWhenSent
      var plan = ConnectionPlan()
      plan.application = side == .application ? ender : other
      plan.device = side == .application ? other : ender
      connections.append(plan)
    }
    let outcome = try World(WorldPlan(seed: 1, connections: connections)).run()
    #expect(outcome.problems == [])
    if kind == 0 { #expect(outcome.complete == connections.count) }
    if kind == 3 { #expect(outcome.complete == 0) }
  }

  /// What may happen to a session, while its streams are in all their states.
  @Test(
    arguments: [
      .relayCancels, .corruption(fromLink: true, position: 3000), .corruption(fromLink: false, position: 3000),
      .blackHole(toSite: true), .blackHole(toSite: false), .siteEnds, .linkLeaves, .linkStops, .siteDies,
    ] as [Incident])
  func noIncidentIsTakenForAnEnd(incident: Incident) throws {
    for time in [1, 40, 200] as [Int64] {
      var plan = WorldPlan(seed: UInt64(time))
      plan.incident = (.milliseconds(time), incident)
      let outcome = try World(plan).run()
      #expect(outcome.problems == [], "\(incident) after \(time) ms")
    }
  }

  /// A device that takes the last of a finished stream slowly gets all of it, however long that takes.
  @Test func aSlowDeviceGetsTheLastOfAFinishedStream() throws {
    var connection = ConnectionPlan()
    connection.application.size = 60_000
    connection.device.buffer = 2000
    connection.device.readChunk = 1000
    connection.device.readPause = .seconds(5)
    connection.device.ending = .finishAtRead(0)
    let outcome = try World(WorldPlan(seed: 1, connections: [connection])).run()
    #expect(outcome.problems == [])
    #expect(outcome.complete == 1 && outcome.time > .seconds(200))
  }

  /// What a test doesn't find may be there: each flaw must be found, and nothing where there is none.
  @Test(arguments: [nil] + Flaw.allCases) func aFlawIsFound(flaw: Flaw?) throws {
    var transfer = ConnectionPlan()
    transfer.application.size = 5000
    transfer.device.size = 300
    transfer.device.ending = .finishAfterPeer
    var broken = transfer
    broken.application.ending = .resetAtSent(2000)
    var refusing = transfer
    refusing.application.ending = .finishAfterPeer
    refusing.device.ending = .resetAtRead(1000)
    var plan = WorldPlan(seed: 1, connections: [transfer, broken, refusing])
    plan.flaw = flaw
    plan.timeLimit = .seconds(600)
    let outcome = try World(plan).run()
    #expect(outcome.problems.isEmpty == (flaw == nil), "\(outcome.problems)")
  }
}
