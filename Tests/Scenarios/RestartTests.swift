import Foundation
import Testing

extension WholeSystem {
  /// Hosts and devices that are killed and start again, as a service manager has it, in every state of a session.
  @Suite struct Restarts {
    /// How one end of a connection heard of its end.
    private struct Ending: CustomStringConvertible {
      /// An error's name, END for one in order, a dash for an end that was killed itself.
      var outcome: Substring
      var seconds: Double?

      init(_ words: ArraySlice<Substring>) {
        outcome = words.first ?? "?"
        seconds = words.last.flatMap { Double($0) }
      }

      /// An error, and soon: what was cut must not look as if it were whole.
      var isError: Bool { outcome.hasPrefix("E") && outcome != "END" && (seconds ?? .infinity) <= limit }

      var description: String { "\(outcome) after \(seconds.map { "\($0)" } ?? "-") s" }
    }

    /// Seconds in which both ends have to know.
    private static let limit = 15.0

    /// Runs `body` in a world whose hosts come back, and demands afterwards that nothing is left of it all.
    private func withSupervisedHosts(_ body: (World) throws -> Void) throws {
      try World.run(hosts: false) { world in
        try world.require(Self.prepared("supervised_hosts && comes_back && census >$state/census"))
        try body(world)
        try world.expect(Self.prepared("eventually 40 same_census"))
      }
    }

    private static func prepared(_ script: String) -> String {
      ". $root/Tests/Scenarios/restarts.sh; \(script)"
    }

    /// Idle, and in transfer each way.
    private func killWhileOpen(_ host: String, _ signal: String, _ world: World) throws {
      let output = try world.require(Self.prepared("kill_while_open \(host) \(signal) && comes_back"))
      print("\(host) \(signal):", output.text.replacing("\n", with: "; "))
      var modes: Set<Substring> = []
      for line in output.text.split(separator: "\n") {
        let words = line.split(separator: " ")
        guard words.count == 5, ["idle", "up", "down"].contains(words[0]) else { continue }
        modes.insert(words[0])
        let (client, device) = (Ending(words[1...2]), Ending(words[3...4]))
        if host == "device" {
          // Its own kernel ends what a killed program leaves, and does that in order where nothing was on its way. The
          // client sees what it would see beside it.
          #expect((client.seconds ?? .infinity) <= Self.limit, "\(host) \(signal) \(words[0]): \(client)")
          #expect(words[0] != "up" || client.isError, "\(host) \(signal) \(words[0]): \(client)")
        } else {
          #expect(client.isError, "\(host) \(signal) \(words[0]): the client saw \(client)")
          #expect(device.isError, "\(host) \(signal) \(words[0]): the device saw \(device)")
        }
      }
      #expect(modes.count == 3, "\(output)")
    }

    /// While LinkManager waits for the site.
    private func killInHandshake(_ host: String, _ signal: String, _ world: World) throws {
      let output = try world.require(Self.prepared("kill_in_handshake \(host) \(signal) && comes_back"))
      print("\(host) \(signal) in handshake:", output.text.replacing("\n", with: "; "))
      // The wish's exit status, seconds, and what was said.
      let words = output.text.split(separator: "\n").first?.split(separator: " ") ?? []
      let seconds = words.dropFirst().first.flatMap { Double($0) }
      #expect((seconds ?? .infinity) <= Self.limit, "\(host) \(signal): \(output)")
    }

    @Test("killed: both ends of what was open see an error, what comes after works, nothing stays")
    func killed() throws {
      try withSupervisedHosts { world in
        for host in ["site", "gate", "link", "device"] { try killWhileOpen(host, "KILL", world) }
        for host in ["site", "gate", "link"] { try killInHandshake(host, "KILL", world) }
      }
    }

    @Test(
      "the same for each host and signal, and at random moments of a handshake",
      .enabled(if: Soak.isWanted, "\(Soak.comment)"))
    func matrix() throws {
      try withSupervisedHosts { world in
        for signal in ["TERM", "KILL"] {
          for host in ["site", "gate", "link", "device"] { try killWhileOpen(host, signal, world) }
          for host in ["site", "gate", "link"] { try killInHandshake(host, signal, world) }
        }
        for round in 0..<24 {
          let host = ["site", "gate", "link"][round % 3]
          let signal = round % 2 == 0 ? "KILL" : "TERM"
          let output = try world.require(Self.prepared("kill_while_connecting \(host) \(signal)"))
          print("\(host) \(signal) while connecting:", output.text.replacing("\n", with: "; "))
        }
      }
    }
  }
}
