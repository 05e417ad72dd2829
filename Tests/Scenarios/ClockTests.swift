import Testing

/// A time of day that hosts take for real.
private enum FakedClock {
  /// Hosts whose time of day is off by as many seconds as `$state/clock/PROGRAM` says. Their other clocks are real, as
  /// they are when somebody sets the time. The compiler is the Swift toolchain's.
  static let hosts = """
    mkdir -p $state/bin $state/clock
    clang -shared -fPIC -O2 -o $state/clock.so $root/Tests/Scenarios/programs/clock.c || exit 1
    for program in gatemanager sitemanager linkmanager; do
      echo 0 >$state/clock/$program
      printf '#!/bin/sh\\nexec env LD_PRELOAD=%s SCENARIO_CLOCK=%s %s "$@"\\n' \
        $state/clock.so $state/clock/$program $bin/$program >$state/bin/$program
      chmod +x $state/bin/$program
    done
    """
  static let start = "bin=$state/bin; start_gate && start_site a && start_link && connect_site site-a"
}

extension WholeSystem {
  /// Clocks that are wrong, or are set while everything runs. Only what people read depends on them.
  @Suite struct Clocks {
    @Test("each clock is set a day on and a day back: nothing that runs is touched, and what is new works")
    func clocksAreSet() throws {
      try World.run(hosts: false) { world in
        try world.require(FakedClock.hosts)
        try world.require(FakedClock.start)
        let before = try world.linkStatus().sites.first?.session
        try world.startDownload("bulk", megabytes: 24)
        for program in ["gatemanager", "sitemanager", "linkmanager"] {
          for step in [86_400, -86_400, 0] {
            try world.require("echo \(step) >$state/clock/\(program); sleep 1.2")
            try world.expect("web_page site-a web 4 'web panel of site a'")
          }
        }
        try world.expect(
          "eventually 30 test -s $state/bulk; grep -qx 0 $state/bulk && cmp $state/device-a/web/bulk $state/bulk.out")
        #expect(try world.linkStatus().sites.first?.session == before)
        #expect(try world.siteStatus("a").connected)

        // New sessions while the clocks are a day apart, GateManager's as well as the site's.
        for (program, step) in [("gatemanager", 86_400), ("gatemanager", -86_400), ("sitemanager", -86_400)] {
          try world.require("echo \(step) >$state/clock/\(program); lm disconnect site-a; connect_site site-a")
          try world.expect("web_page site-a web 4 'web panel of site a'")
          try world.require("sleep 1.2; echo 0 >$state/clock/\(program)")
        }
      }
    }

    @Test("a site whose clock stands in 1970 can be reached, and says what is wrong")
    func deadBattery() throws {
      try World.run(hosts: false) { world in
        try world.require(FakedClock.hosts)
        try world.require("echo -1700000000 >$state/clock/sitemanager")
        try world.require(FakedClock.start)
        try world.expect("web_page site-a web 4 'web panel of site a'")
        // Both times stand in the log, whose own are just as wrong.
        try world.expect(
          """
          logged site-a "clock is wrong.*gate=\\"\\?$(date -u +%Y).*site=\\"\\?19[67]" || { cat $state/log/site-a; exit 1; }
          """)
        #expect(try world.siteStatus("a").connected)
      }
    }
  }
}
