import Foundation
import Testing

/// What `poll.py ask` measured, in milliseconds.
private struct PollTimes: Decodable {
  var count: Int
  var median, p99, slowest: Double
}

/// What these tests read of a flow in `status --flows`.
private struct OpenFlow: Decodable {
  var destination: String
  var bytesFromDevice: UInt64
  var window: Int
  var held: Int
  var queued: Int
  var waiting: Int
}

private struct FlowList: Decodable {
  var flows: [OpenFlow]
}

extension World {
  fileprivate func linkFlows() throws -> [OpenFlow] { try status("lm status --flows --json", as: FlowList.self).flows }

  fileprivate func siteFlows() throws -> [OpenFlow] {
    try status(
      "briefly site-a $bin/sitemanager status --flows --json --directory $state/site-a", as: FlowList.self
    ).flows
  }
}

extension WholeSystem {
  /// Nobody takes from others: neither who doesn't read, nor who reads as fast as can be, nor what is sent faster than
  /// it is read.
  @Suite struct Fairness {
    private static func prepared(_ script: String) -> String {
      ". $root/Tests/Scenarios/odd-devices.sh; poll() { at pc $python $scenario_programs/poll.py \"$@\"; }; \(script)"
    }

    /// One stalled reader of a device that sends without end, one bulk download, and a PLC that is polled.
    ///
    /// What else runs on the machine is in the times of a poll alone as well, and isn't counted: on a quiet machine it is
    /// next to nothing.
    @Test("a poll beside a download and a stalled reader takes less than 5 ms, and the stalled stream holds its window")
    func pollBesideBulk() throws {
      try World.run { world in
        try world.require(Self.prepared("start_odd_devices 1"))
        let alone = try poll(world, "alone")
        let noise = alone.p99 - alone.median
        try world.require(
          Self.prepared(
            """
            start stalled pc $python $scenario_programs/poll.py hold $(alias_of site-a odd) 9004
            eventually 10 grep -q stalled $state/log/stalled
            """))
        // From a device with Gigabit Ethernet, and from one that sends as fast as the hosts carry it: these then share
        // the processors with it, where only the middle is theirs and not the scheduler's.
        let gigabit = try poll(world, besideDownloadFrom: 9006) { $0.p99 < 5 + noise }
        #expect(gigabit.p99 < 5 + noise, "\(gigabit), alone \(alone)")
        let unlimited = try poll(world, besideDownloadFrom: 9004) { $0.median < 5 }
        #expect(unlimited.median < 5, "\(unlimited), alone \(alone)")
        try expectStalledStream(world)
      }
    }

    private func poll(_ world: World, _ what: String) throws -> PollTimes {
      let output = try world.require(Self.prepared("poll ask $(alias_of site-a odd) 9000 1500 60"))
      let times = try JSONDecoder().decode(PollTimes.self, from: Data(output.lastLine.utf8))
      print("poll \(what):", times)
      return times
    }

    /// Polls while a download goes on: the best of three, since what else runs can only slow it down.
    private func poll(
      _ world: World, besideDownloadFrom port: Int, _ isEnough: (PollTimes) -> Bool
    ) throws -> PollTimes {
      try world.require(
        Self.prepared(
          """
          start bulk-\(port) pc $python $scenario_programs/device_client.py run $(alias_of site-a odd) \(port) down
          eventually 10 grep -q running $state/log/bulk-\(port)
          sleep 2
          """))
      let before = try world.linkFlows().map(\.bytesFromDevice).max() ?? 0
      let start = Date()
      var best: PollTimes?
      for _ in 0..<3 where best.map({ !isEnough($0) }) ?? true {
        let times = try poll(world, "beside a download from \(port)")
        if times.p99 < best?.p99 ?? .infinity { best = times }
      }
      let bytes = try (world.linkFlows().map(\.bytesFromDevice).max() ?? 0) - before
      let rate = Double(bytes) / Date().timeIntervalSince(start) / 1_000_000
      print("the download from \(port):", Int(rate), "MB/s")
      #expect(rate > 20, "it went on meanwhile")
      try world.require(
        #"""
        for pid in $(ip netns pids $prefix-pc); do
          ! tr '\0' ' ' <"/proc/$pid/cmdline" | grep -q ' \#(port) down' || kill "$pid" || exit 1
        done
        """#)
      return try #require(best)
    }

    /// It has come to a standstill, and holds one window in all: at this end what its application hasn't taken, at the
    /// site nothing.
    private func expectStalledStream(_ world: World) throws {
      let link = try #require(try world.linkFlows().first { $0.destination.hasSuffix(":9004") })
      let site = try #require(try world.siteFlows().first { $0.destination.hasSuffix(":9004") })
      print("stalled, at LinkManager:", link)
      print("stalled, at SiteManager:", site)
      #expect(link.held <= link.window && link.waiting <= link.window, "\(link)")
      #expect(site.queued == 0 && site.waiting == 0, "\(site)")
      // All that the device has sent: a window, and what the application's kernel took before its own was full.
      #expect(site.bytesFromDevice == link.bytesFromDevice, "\(site), \(link)")
      Thread.sleep(forTimeInterval: 1)
      let later = try #require(try world.linkFlows().first { $0.destination.hasSuffix(":9004") })
      #expect(later.held == link.held && later.bytesFromDevice == link.bytesFromDevice, "\(later)")
    }

    /// What comes faster than LinkManager reads, here because it doesn't run, waits in the device's queue up to its
    /// bound; beyond it the kernel drops and counts, and afterwards all goes on.
    @Test("the queue of the TUN device is bounded")
    func deviceQueue() throws {
      try World.run { world in
        let output = try world.require(
          #"""
          server=$(alias_of site-a server)
          link=$(at pc ip -json address show | $python -c '
          import json, sys
          print(next(link["ifname"] for link in json.load(sys.stdin) if "POINTOPOINT" in link["flags"]))')
          statistic() { at pc cat /sys/class/net/$link/$1; }
          queue=$(statistic tx_queue_len)
          before=$(statistic statistics/tx_dropped)
          pid=$(host_pid pc linkmanager)
          kill -STOP $pid
          at pc $python -c '
          import socket, sys
          with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
              for _ in range(6000):
                  sender.sendto(b"x", (sys.argv[1], 53))' $server
          dropped=$(($(statistic statistics/tx_dropped) - before))
          kill -CONT $pid
          fetch $server 8000/ --output /dev/null || exit 1
          echo $queue $dropped
          """#)
        let figures = output.lastLine.split(separator: " ").compactMap { Int($0) }
        try #require(figures.count == 2, "\(output)")
        print("of 6,000 datagrams, a queue of \(figures[0]) dropped \(figures[1])")
        #expect(figures[0] == 4000, "\(output)")
        // A few others were in the queue as well.
        #expect((2000...2200).contains(figures[1]), "\(output)")
      }
    }
  }
}
