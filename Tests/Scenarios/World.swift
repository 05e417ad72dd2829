import Foundation
import Testing

/// The whole system in network namespaces of its own, as long as `body` takes: a PC, a relay, sites with their devices.
///
/// However the test ends, and even if its process is killed, nothing stays: a guard outside of it takes the world
/// down when its input ends.
struct World {
  private let environment: [String: String]
  /// Where the hosts keep their state, and their logs in `log`.
  let directory: String

  /// Why the tests that need a world can't run here; empty if they can.
  static let obstacle: String = {
    if geteuid() != 0 { return "network namespaces need root" }
    if !FileManager.default.isWritableFile(atPath: "/dev/net/tun") { return "there is no /dev/net/tun" }
    if !Place.hasBinaries("gatemanager", "sitemanager", "linkmanager") {
      return "the hosts aren't built in release mode: `make test` does that first"
    }
    if !FileManager.default.fileExists(atPath: Place.root.path + "/.demo/python/bin/python3") {
      return "what the devices need isn't installed: run Scripts/install-dependencies"
    }
    return ""
  }()

  static var isPossible: Bool { obstacle.isEmpty }

  /// Builds a world and takes it down again.
  ///
  /// - Parameters:
  ///   - sites: letters of the sites whose devices are started, and unless `hosts` is false their hosts too.
  ///   - hosts: whether the three hosts are started, and all sites connected.
  static func run(sites: [String] = ["a"], hosts: Bool = true, _ body: (World) throws -> Void) throws {
    // Short, as names of devices and namespaces; by process, so that two test runs don't clash.
    let prefix = "rvt\(getpid())"
    let directory = "/tmp/\(prefix).world"
    try FileManager.default.createDirectory(atPath: directory + "/log", withIntermediateDirectories: true)
    let world = World(
      environment: [
        "SCENARIO_STATE": directory, "RELAYVPN_DEMO_PREFIX": prefix, "RELAYVPN_BIN": Place.binaries,
      ], directory: directory)
    let guardian = try Guardian(Self.script, world.environment)
    defer { guardian.end() }
    try world.require("topology_up $prefix")
    for site in sites { try world.require("start_devices \(site)") }
    if hosts {
      try world.require("start_gate")
      for site in sites { try world.require("start_site \(site)") }
      try world.require("start_link")
      for site in sites { try world.require("connect_site site-\(site)") }
    }
    do {
      try body(world)
    } catch {
      Issue.record("the ends of the logs: \(try world.run("show_logs").text)")
      throw error
    }
  }

  /// Runs a script of bash with the demonstration's functions at hand.
  func run(_ script: String, limit: Int = 120) throws -> Output {
    try Shell.run(["bash", Self.script, "run", script], environment: environment, limit: limit)
  }

  /// The same, for steps without which the test makes no sense.
  @discardableResult
  func require(_ script: String, limit: Int = 120, sourceLocation: SourceLocation = #_sourceLocation) throws -> Output {
    let output = try run(script, limit: limit)
    try #require(output.status == 0, "\(script): \(output)", sourceLocation: sourceLocation)
    return output
  }

  /// A script that succeeds, as an expectation; what it said.
  @discardableResult
  func expect(_ script: String, limit: Int = 120, sourceLocation: SourceLocation = #_sourceLocation) throws -> Output {
    let output = try run(script, limit: limit)
    #expect(output.status == 0, "\(script): \(output)", sourceLocation: sourceLocation)
    return output
  }

  /// A host's status, read as `type`.
  func status<Status: Decodable>(_ script: String, as type: Status.Type) throws -> Status {
    try JSONDecoder().decode(type, from: Data(require(script).text.utf8))
  }

  static let script = Place.root.path + "/Tests/Scenarios/world.sh"
}

/// The tests of the whole system, one after the other: they measure, and they share the machine.
@Suite(.serialized, .enabled(if: World.isPossible, Comment(rawValue: World.obstacle)))
enum WholeSystem {}
