import Foundation
import Testing

extension WholeSystem {
  /// Devices that refuse, reset, say nothing, don't read, or vanish, and datagrams of every size.
  @Suite struct OddDevices {
    private static func prepared(_ script: String) -> String {
      ". $root/Tests/Scenarios/odd-devices.sh; \(script)"
    }

    /// A world with odd devices, of which the deaf one begins to read after some seconds.
    private func withOddDevices(deafness: Int, _ body: (World) throws -> Void) throws {
      try World.run { world in
        try world.require(Self.prepared("start_odd_devices \(deafness)"))
        try body(world)
      }
    }

    /// What a verb of device_client.py saw, and after how many seconds.
    private func client(
      _ verb: String, _ port: Int, _ word: String, _ world: World, limit: Int = 120
    ) throws -> (outcome: String, seconds: Double) {
      let output = try world.run(Self.prepared("client \(verb) \(port) \(word)"), limit: limit)
      let words = output.lastLine.split(separator: " ")
      print("\(verb) \(port) \(word):", output.lastLine)
      return (words.dropLast().joined(separator: " "), words.last.flatMap { Double($0) } ?? .infinity)
    }

    @Test("refusing, resetting, silent, deaf and crowded devices")
    func devices() throws {
      try withOddDevices(deafness: 8) { world in
        let refused = try client("connect", 9010, "10", world)
        #expect(refused.outcome == "ECONNREFUSED" && refused.seconds < 3, "\(refused)")
        let reset = try client("run", 9003, "down", world)
        #expect(reset.outcome == "ECONNRESET" && reset.seconds < 10, "\(reset)")
        // A connection that nobody says anything on stays, and its keepalive is answered; closing it frees all of it.
        let silent = try client("hold", 9001, "8", world)
        #expect(silent.outcome == "silence", "\(silent)")
        try world.expect(Self.prepared("eventually 10 flows_are_gone 9001"))
        // More than all windows on the way together, for a device that doesn't read yet: nothing is lost, and it isn't
        // taken for one that is gone.
        let deaf = try client("pour", 9002, "40000000", world)
        #expect(deaf.outcome == "same" && deaf.seconds >= 7, "\(deaf)")
        // A full queue of connections: the device's kernel drops what comes then, and nobody answers.
        // Applications that have gone are forgotten by their kernel sooner here than after the usual minute.
        try world.require("at pc sysctl -qw net.ipv4.tcp_fin_timeout=5")
        let crowded = try client("fill", 9005, "6", world)
        #expect(crowded.outcome.hasPrefix("CONNECTED CONNECTED"), "\(crowded)")
        #expect(crowded.outcome.hasSuffix("ETIMEDOUT"), "\(crowded)")
        let beside = try client("idle", 9000, "0", world)
        #expect(beside.outcome == "same", "\(beside)")
        // The device never ends what it never accepted: the applications' kernel says that nobody waits for it.
        try world.expect(Self.prepared("eventually 30 flows_are_gone 9005"))
      }
    }

    @Test("a device that comes back with another MAC address goes on where it was; none that isn't there is reached")
    func absence() throws {
      try withOddDevices(deafness: 1) { world in
        let output = try world.expect(
          Self.prepared(
            """
            head -c 60000000 /dev/urandom >$state/device-a/web/random
            fetch $(alias_of site-a server) 8000/random --limit-rate 10M --max-time 60 --output $state/received &
            fetching=$!
            sleep 2
            ip -n $prefix-device-a link set lan down
            sleep 1
            ip -n $prefix-device-a link set lan address 02:00:00:00:00:99 up
            wait $fetching && cmp $state/device-a/web/random $state/received && echo same
            """))
        #expect(output.lastLine == "same", "\(output)")
        try world.require("ip -n $prefix-device-a link set lan down && ip -n $prefix-site-a neighbour flush dev lan")
        let absent = try client("connect", 9000, "20", world)
        #expect(absent.outcome == "EHOSTUNREACH" || absent.outcome == "ETIMEDOUT", "\(absent)")
        #expect(absent.seconds < 12, "\(absent)")
      }
    }

    @Test("datagrams of every size, whole or in fragments, over both families")
    func datagrams() throws {
      try withOddDevices(deafness: 1) { world in
        // One byte; as much as fits the device's network, and one more; and as much as UDP takes (RFC 768, RFC 8200).
        for (family, sizes) in [
          (4, "1 1472 1473 9000 16376 16377 32768 65507"), (6, "1 1452 1453 9000 16376 16377 32768 65487 65507"),
        ] {
          try world.expect(Self.prepared("datagrams sizes \(family) \(sizes)"))
          // What goes together by one system call, what is just too large for that, and what changes from one to the next.
          let bursts = [
            ("burst", "100", 500), ("burst", "1472", 200), ("burst", "1473", 100), ("burst", "32000", 20),
            ("mixed", "200 200 200 70 1452 1452 1473 1473 2000 2048 9000 16376 16377", 130),
          ]
          for (verb, sizes, count) in bursts {
            let words = verb == "burst" ? "\(sizes) \(count)" : "\(count) \(sizes)"
            let burst = try world.expect(Self.prepared("datagrams \(verb) \(family) \(words)"))
            print("burst of \(count) x \(sizes), IPv\(family):", burst.lastLine)
            let arrived = burst.lastLine.split(separator: " ").first.flatMap { Int($0) } ?? 0
            #expect(arrived >= count * 9 / 10, "\(count) of \(sizes) bytes: \(burst)")
          }
        }
        // A fragment that is lost takes its datagram along, and nothing else.
        try world.require(
          """
          at device-a nft 'add table ip lossy; add chain ip lossy in { type filter hook prerouting priority -450; };
            add rule ip lossy in ip frag-off & 0x1fff != 0 numgen inc mod 20 == 0 drop'
          """)
        let lossy = try world.expect(Self.prepared("datagrams burst 4 9000 50"))
        print("burst of 50 x 9000 with fragments lost:", lossy.lastLine)
        let arrived = lossy.lastLine.split(separator: " ").first.flatMap { Int($0) } ?? 0
        #expect(arrived > 10 && arrived < 50, "\(lossy)")
        try world.require("at device-a nft delete table ip lossy")
        try world.expect(Self.prepared("datagrams sizes 4 9000 65507"))
      }
    }

    @Test("idle for 15 minutes, deaf for 75 seconds", .enabled(if: Soak.isWanted, "\(Soak.comment)"))
    func patience() throws {
      try withOddDevices(deafness: 75) { world in
        let deaf = try client("pour", 9002, "40000000", world, limit: 300)
        #expect(deaf.outcome == "same" && deaf.seconds >= 74, "\(deaf)")
        let idle = try client("idle", 9000, "900", world, limit: 1000)
        #expect(idle.outcome == "same" && idle.seconds >= 899, "\(idle)")
      }
    }

    @Test(
      "a device that vanishes: idle, sending or receiving, its connections end within bounds",
      .enabled(if: Soak.isWanted, "\(Soak.comment)"))
    func vanishing() throws {
      try withOddDevices(deafness: 1) { world in
        let output = try world.require(
          Self.prepared(
            """
            client hold 9001 150 >$state/idle &
            client run 9004 down >$state/down &
            client run 9001 up >$state/up &
            eventually 20 grep -q running $state/down && eventually 20 grep -q running $state/up || exit 1
            sleep 3
            ip -n $prefix-device-a link set lan down
            wait
            echo idle $(tail -n 1 $state/idle) down $(tail -n 1 $state/down) up $(tail -n 1 $state/up)
            """), limit: 200)
        print("vanished:", output.lastLine)
        let words = output.lastLine.split(separator: " ")
        for place in [0, 3, 6] where words.count == 9 {
          #expect(words[place + 1] == "ECONNRESET", "\(output)")
          // 60 s of silence, and up to 10 s until somebody looks.
          #expect((Double(words[place + 2]) ?? .infinity) < 90, "\(output)")
        }
        try world.expect(Self.prepared("eventually 10 flows_are_gone 9001 && flows_are_gone 9004"))
      }
    }
  }
}
