import Testing

extension World {
  /// What a script that ends with `time_until` measured.
  func milliseconds(_ script: String, sourceLocation: SourceLocation = #_sourceLocation) throws -> Int {
    let output = try require(script, sourceLocation: sourceLocation)
    return try #require(Int(output.lastLine), "\(script): \(output)", sourceLocation: sourceLocation)
  }

  /// Starts a download whose client takes 2 MB a second, and waits until it is under way.
  ///
  /// What became of it is in `$state/NAME`, behind the bytes that came: curl's exit status.
  func startDownload(_ name: String, megabytes: Int, rate: Int = 2) throws {
    try require(
      """
      head -c \(megabytes)000000 /dev/urandom >$state/device-a/web/\(name)
      (fetch $(alias_of site-a server) 8000/\(name) --max-time 200 --limit-rate \(rate)M --output $state/\(name).out \
        2>$state/\(name).error; echo $? >$state/\(name)) &
      eventually 10 test -s $state/\(name).out
      """)
  }
}

extension WholeSystem {
  /// Lines that are out without a word: no reset, no ICMP error, no loss of carrier.
  @Suite struct Outages {
    @Test("ten seconds without a line: a transfer and an idle connection go on, at each link")
    func shortOutage() throws {
      try World.run { world in
        let before = try world.linkStatus().sites.first?.session
        for (index, link) in ["pc", "site-a"].enumerated() {
          try world.require(
            """
            (at pc $python $root/Tests/Scenarios/programs/idle.py $(alias_of site-a server) 8000 12 >$state/idle\(index)) &
            eventually 10 grep -q waiting $state/idle\(index)
            """)
          try world.startDownload("short\(index)", megabytes: 8, rate: 4)
          try world.require("sever \(link); sleep 10; mend \(link)")
          let resumed = try world.milliseconds("time_until 30 test -s $state/short\(index)")
          try world.expect(
            "grep -qx 0 $state/short\(index) && cmp $state/device-a/web/short\(index) $state/short\(index).out")
          // What was out of order for ten seconds is retransmitted at once, not after as long again.
          #expect(resumed < 12_000, "\(resumed) ms after the line came back")
          try world.expect("eventually 15 grep -q answered $state/idle\(index)")
        }
        #expect(try world.linkStatus().sites.first?.session == before)
      }
    }

    @Test(
      "thirty seconds without a line: noticed in time, and everything comes back by itself",
      .enabled(if: Soak.isWanted, Comment(rawValue: Soak.comment)), arguments: ["pc", "site-a"], [false, true])
    func longOutage(link: String, isBusy: Bool) throws {
      try World.run { world in
        if isBusy { try world.startDownload("bulk", megabytes: 200) }
        try world.require("sever \(link); clock >$state/cut")
        // Both ends say so after 15 s, and GateManager by then or, when nobody is left to tell it, by its own means.
        try world.expect(
          """
          say() { echo "$1: $(($(clock) - $(<$state/cut))) ms"; }
          eventually 20 logged linkmanager 'session ended.*silent' && say LinkManager &&
            eventually 20 logged site-a 'session ended.*silent' && say SiteManager &&
            eventually 10 logged gatemanager 'session ended' && say GateManager
          """)
        let noticed = try world.milliseconds("echo $(($(clock) - $(<$state/cut)))")
        #expect(noticed < 24_000, "noticed after \(noticed) ms")
        if isBusy {
          // The application was told, and what came isn't taken for the whole.
          try world.expect("eventually 5 test -s $state/bulk && ! grep -qx 0 $state/bulk")
        }
        #expect(try world.linkStatus().sites.first?.state == "CONNECTING")
        try world.require("while [ $(($(clock) - $(<$state/cut))) -lt 30000 ]; do sleep 0.2; done; mend \(link)")
        let back = try world.milliseconds("time_until 40 fetch $(alias_of site-a web) '' --max-time 3")
        print("outage of \(link), \(isBusy ? "busy" : "idle"): noticed after \(noticed) ms, back after \(back) ms")
        #expect(back < 15_000, "back \(back) ms after the line")
        try world.expect("web_page site-a web 4 'web panel of site a'")
      }
    }

    @Test(
      "thirty seconds without the devices' network: connections go on as they would on site",
      .enabled(if: Soak.isWanted, Comment(rawValue: Soak.comment)))
    func deviceOutage() throws {
      try World.run { world in
        let before = try world.linkStatus().sites.first?.session
        try world.startDownload("bulk", megabytes: 30)
        try world.require("sever_lan a; clock >$state/cut")
        // A new connection isn't refused: the device is silent, and so is the tunnel.
        let seen = try world.run("probe $(alias_of site-a web) 80 14")
        #expect(seen.text.hasPrefix("ETIMEDOUT") || seen.text.hasPrefix("EHOSTUNREACH"), "\(seen)")
        try world.expect("at site-a ping -c 1 -W 1 203.0.113.1")
        try world.require("while [ $(($(clock) - $(<$state/cut))) -lt 30000 ]; do sleep 0.2; done; mend_lan a")
        let back = try world.milliseconds("time_until 20 opens $(alias_of site-a web) 80")
        #expect(back < 5_000, "back \(back) ms after the line")
        // The device's own kernel has doubled its patience meanwhile, to half a minute at most.
        try world.expect(
          "eventually 60 test -s $state/bulk; grep -qx 0 $state/bulk && cmp $state/device-a/web/bulk $state/bulk.out")
        #expect(try world.linkStatus().sites.first?.session == before)
      }
    }
  }
}
