import Foundation
import Testing

/// What `Simulator` found.
private struct SimulationFigures: Decodable {
  var connections: Int
  var complete: Int
  var failed: Int
  var broken: Int
  var connectionsPerSecondOnTwoCores: Int
}

/// The rate is taken from the processor's time, so that other work on the machine doesn't count.
@Test(
  "10,000 simulated connections keep their promises, 1,000 a second",
  .enabled(if: Place.hasBinaries("Simulator"), "Simulator isn't built in release mode: `make test` does that first"))
func simulatedConnectionsKeepTheirPromises() throws {
  let output = try Shell.run(["\(Place.binaries)/Simulator", "--connections", "10000", "--seed", "1"])
  let figures = try JSONDecoder().decode(SimulationFigures.self, from: Data(output.lastLine.utf8))
  #expect(figures.broken == 0 && output.status == 0, "\(output)")
  #expect(figures.connections >= 10_000)
  // Most of what is planned in order comes to its end in order, so that there is something to see.
  #expect(figures.complete > figures.connections / 4 && figures.failed > figures.connections / 10)
  #expect(figures.connectionsPerSecondOnTwoCores >= 1000, "\(output)")
}

@Test(
  "a million simulated connections keep their promises",
  .enabled(if: Soak.isWanted && Place.hasBinaries("Simulator"), "\(Soak.comment)"))
func aMillionSimulatedConnections() throws {
  let output = try Shell.run(
    ["\(Place.binaries)/Simulator", "--connections", "1000000", "--seed", "1000000"], limit: 3600)
  let figures = try JSONDecoder().decode(SimulationFigures.self, from: Data(output.lastLine.utf8))
  #expect(figures.broken == 0 && output.status == 0, "\(output)")
}
