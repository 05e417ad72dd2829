import Testing

extension WholeSystem {
  /// Hosts that stand still for a while, as on a laptop that is shut or a virtual machine that is paused.
  @Suite struct Suspension {
    /// The part and program of each host.
    static let hosts = [("pc", "linkmanager"), ("site-a", "sitemanager"), ("relay", "gatemanager")]

    @Test("ten seconds of standing still: connections go on, at each host")
    func shortPause() throws {
      try World.run { world in
        let before = try world.linkStatus().sites.first?.session
        for (part, program) in Self.hosts {
          let name = "bulk-\(program)"
          try world.startDownload(name, megabytes: 8, rate: 4)
          try world.require(
            "kill -STOP $(host_pid \(part) \(program)); sleep 10; kill -CONT $(host_pid \(part) \(program))")
          try world.expect("eventually 30 test -s $state/\(name)")
          try world.expect("grep -qx 0 $state/\(name) && cmp $state/device-a/web/\(name) $state/\(name).out")
        }
        #expect(try world.linkStatus().sites.first?.session == before)
      }
    }

    @Test(
      "a minute of standing still: what was open ends with an error, and everything comes back by itself",
      .enabled(if: Soak.isWanted, Comment(rawValue: Soak.comment)), arguments: Array(hosts.indices), [false, true])
    func longPause(index: Int, isBusy: Bool) throws {
      let (part, program) = Self.hosts[index]
      try World.run(sites: ["a", "b"]) { world in
        if isBusy { try world.startDownload("bulk", megabytes: 200) }
        let other = try world.linkStatus().sites.first { $0.name == "site-b" }?.session
        try world.require("kill -STOP $(host_pid \(part) \(program)); sleep 60")
        // One site that stands still is no other site's business.
        if part == "site-a" { try world.expect("web_page site-b web 4 'web panel of site b'") }
        try world.require("kill -CONT $(host_pid \(part) \(program))")
        let back = try world.milliseconds("time_until 60 fetch $(alias_of site-a web) '' --max-time 3")
        print("\(program) stopped for 60 s, \(isBusy ? "busy" : "idle"): back after \(back) ms")
        #expect(back < 20_000, "back after \(back) ms")
        if isBusy { try world.expect("eventually 5 test -s $state/bulk && ! grep -qx 0 $state/bulk") }
        try world.expect("eventually 20 web_page site-b web 4 'web panel of site b'")
        if part == "site-a" {
          #expect(try world.linkStatus().sites.first { $0.name == "site-b" }?.session == other)
        }
        #expect(try world.siteStatus("a").sessions.count == 1)
      }
    }
  }
}
