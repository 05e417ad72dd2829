import Testing

/// What these tests read of `linkmanager status --json`.
struct LinkStatus: Decodable {
  struct Site: Decodable {
    var name: String
    var state: String
    var session: String?
    var bytesIn: Int
    var bytesOut: Int
    var meanRecordIn: Int
    var meanRecordOut: Int
  }

  var sites: [Site]
  var meanSegmentIn: Int
  var meanSegmentOut: Int
  var tcpFlows: Int
}

/// What these tests read of `sitemanager status --json`.
struct SiteStatus: Decodable {
  struct Session: Decodable {
    var flows: Int
    var flowsByAgent: [String: Int]
    var meanRecordIn: Int
    var meanRecordOut: Int
    var meanDeviceRead: Int
    var meanDeviceWrite: Int
  }

  var connected: Bool
  var sessions: [Session]
}

extension World {
  func linkStatus() throws -> LinkStatus { try status("lm status --json", as: LinkStatus.self) }

  func siteStatus(_ letter: String) throws -> SiteStatus {
    try status(
      "briefly site-\(letter) $bin/sitemanager status --json --directory $state/site-\(letter)", as: SiteStatus.self)
  }
}

extension WholeSystem {
  /// Large pieces from end to end: what the speed comes from.
  @Suite struct SuperSegments {
    @Test("super-segments and full records in bulk, both ways")
    func bulkMovesInLargePieces() throws {
      try World.run { world in
        try world.require(
          """
          head -c 100000000 /dev/urandom >$state/device-a/web/random
          server=$(alias_of site-a server)
          fetch $server 8000/random --output $state/received && cmp $state/device-a/web/random $state/received || exit 1
          sum=$(sha256sum <$state/device-a/web/random)
          seen=$(fetch $server 8000/random --upload-file $state/device-a/web/random) || exit 1
          [ "$seen" = "100000000 ${sum%% *}" ]
          # The site publishes its figures a few times a second.
          sleep 1.5
          """)
        let link = try world.linkStatus()
        #expect(link.meanSegmentIn > 20_000, "\(link)")
        #expect(link.meanSegmentOut > 20_000, "\(link)")
        let site = try #require(link.sites.first)
        #expect(site.bytesIn > 100_000_000 && site.bytesOut > 100_000_000, "\(link)")
        #expect(site.meanRecordIn > 12_000 && site.meanRecordOut > 12_000, "\(link)")
        let session = try #require(try world.siteStatus("a").sessions.first)
        #expect(session.meanRecordIn > 12_000 && session.meanRecordOut > 12_000, "\(session)")
        #expect(session.meanDeviceRead > 20_000 && session.meanDeviceWrite > 20_000, "\(session)")
      }
    }

    @Test("flows that have ended leave nothing behind")
    func flowsAreGivenBack() throws {
      try World.run { world in
        // What each descriptor is, but for the numbers that tell one socket from another. Timers are the Swift runtime's,
        // which makes them when it likes.
        let descriptors =
          #"""
          descriptors() {
            for pid in $(host_pid site-a sitemanager) $(host_pid pc linkmanager); do
              find /proc/$pid/fd -type l -printf '%l\n' | grep -v timerfd | sed 's/:\[[0-9].*//' | sort | uniq -c
            done
          }

          """#
        // What a process makes once, at the first use, is no leak: the runtime's own poller comes with the first summary
        // of the flow log, which comes when many flows end at once.
        try world.require(
          """
          \(descriptors)for probe in {1..50}; do probe $(alias_of site-a server) 8000 >/dev/null & done
          wait
          sleep 2
          descriptors >$state/descriptors
          """)
        // One after the other, so that streams take each other's places; half of them end by the device.
        try world.require(
          """
          for round in {1..100}; do
            fetch $(alias_of site-a web) "" --output /dev/null || exit 1
            probe $(alias_of site-a server) 8000 >/dev/null || exit 1
            probe $(alias_of site-a web) 443 >/dev/null
          done
          sleep 2
          """)
        try world.expect("\(descriptors)same() { diff $state/descriptors <(descriptors); }; eventually 5 same")
        let session = try #require(try world.siteStatus("a").sessions.first)
        #expect(session.flows == 0, "\(session)")
        #expect(session.flowsByAgent.values.allSatisfy { $0 == 0 }, "\(session)")
        #expect(try world.linkStatus().tcpFlows == 0)
      }
    }
  }
}
