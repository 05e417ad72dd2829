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
    @Test("a poll beside a download and a stalled reader takes less than 5 ms, and the stalled stream holds its window")
    func pollBesideBulk() throws {
      try World.run { world in
        try world.require(Self.prepared("start_odd_devices 1"))
        let poll = Self.prepared("poll ask $(alias_of site-a odd) 9000 1500 60")
        let alone = try times(world.require(poll))
        print("poll alone:", alone)
        try world.require(
          Self.prepared(
            """
            start stalled pc $python $scenario_programs/poll.py hold $(alias_of site-a odd) 9004
            start bulk pc $python $scenario_programs/device_client.py run $(alias_of site-a odd) 9004 down
            eventually 10 grep -q stalled $state/log/stalled && eventually 10 grep -q running $state/log/bulk
            sleep 2
            """))
        let before = try world.linkFlows().map(\.bytesFromDevice).max() ?? 0
        // What else runs on the machine can only slow it down: the best of three is the product's.
        var best: PollTimes?
        for _ in 0..<3 where best.map({ $0.p99 >= 5 }) ?? true {
          let beside = try times(world.require(poll))
          print("poll beside a download and a stalled reader:", beside)
          if beside.p99 < best?.p99 ?? .infinity { best = beside }
        }
        #expect(best?.p99 ?? .infinity < 5, "\(String(describing: best)), alone \(alone)")

        // The download went on meanwhile; the stalled stream has come to a standstill, and holds one window in all: at
        // this end what its application hasn't taken, at the site nothing.
        let (link, site) = (try world.linkFlows(), try world.siteFlows())
        let bulk = try #require(link.max { $0.bytesFromDevice < $1.bytesFromDevice })
        #expect(bulk.bytesFromDevice > before + 20_000_000, "\(bulk)")
        let stalled = try #require(
          link.filter { $0.destination.hasSuffix(":9004") }.min { $0.bytesFromDevice < $1.bytesFromDevice })
        print("stalled, at LinkManager:", stalled)
        #expect(stalled.held <= stalled.window && stalled.waiting <= stalled.window, "\(stalled)")
        let far = try #require(
          site.filter { $0.destination.hasSuffix(":9004") }.min { $0.bytesFromDevice < $1.bytesFromDevice })
        print("stalled, at SiteManager:", far)
        #expect(far.queued == 0 && far.waiting == 0, "\(far)")
        // All that the device has sent: a window, and what the application's kernel took before its own was full.
        #expect(far.bytesFromDevice == stalled.bytesFromDevice, "\(far), \(stalled)")
        Thread.sleep(forTimeInterval: 1)
        let later = try #require(try world.linkFlows().first { $0.bytesFromDevice == stalled.bytesFromDevice })
        #expect(later.held == stalled.held, "it stands still: \(later)")
      }
    }

    private func times(_ output: Output) throws -> PollTimes {
      try JSONDecoder().decode(PollTimes.self, from: Data(output.lastLine.utf8))
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
