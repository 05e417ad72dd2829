import Testing

extension WholeSystem {
  /// What becomes of connections when hosts end, and come back.
  @Suite struct Recovery {
    @Test("after a restart of the GateManager everything comes back by itself")
    func gateRestarts() throws {
      try World.run { world in
        let first = try #require(try world.linkStatus().sites.first?.session)
        try world.require(
          """
          gone() { [ -z "$(host_pid relay gatemanager)" ]; }
          kill -TERM $(host_pid relay gatemanager)
          eventually 10 gone || exit 1
          start gatemanager-again relay $bin/gatemanager run --directory $state/gatemanager --listen $gate
          eventually 15 at relay $python $programs/probe.py ${gate%:*} ${gate##*:}
          """)
        // Nobody runs a command: both ends find back, with jitter, in a few attempts.
        try world.expect("eventually 60 fetch $(alias_of site-a web)")
        try world.expect("web_page site-a web 4 'web panel of site a'")
        let again = try world.linkStatus()
        #expect(again.sites.first?.state == "CONNECTED", "\(again)")
        #expect(again.sites.first?.session != first, "\(again)")
        #expect(try world.siteStatus("a").connected)
      }
    }

    @Test("a killed SiteManager: what was open ends with an error, not as if it were whole")
    func siteIsKilled() throws {
      try World.run { world in
        let output = try world.run(
          """
          head -c 50000000 /dev/zero >$state/device-a/web/long
          at pc $python $root/Tests/Scenarios/programs/read_to_end.py $(alias_of site-a server) 8000 /long 10000000 \
            >$state/reader &
          reader=$!
          eventually 10 grep -q reading $state/reader || exit 9
          kill -KILL $(host_pid site-a sitemanager)
          wait $reader
          cat $state/reader
          """)
        #expect(output.lastLine == "ECONNRESET", "\(output)")
        // And it comes back once the site does.
        try world.require(
          "start site-a site-a $bin/sitemanager run --directory $state/site-a --agents $state/site-a.yaml")
        try world.expect("eventually 60 fetch $(alias_of site-a web)")
      }
    }

    @Test("a device that resets is told from one that ends")
    func deviceResets() throws {
      try World.run { world in
        let output = try world.run(
          """
          at device-a $python $root/Tests/Scenarios/programs/resetting.py 192.168.10.10 8006 \
            >$state/log/resetting 2>&1 </dev/null &
          eventually 5 grep -q listening $state/log/resetting || exit 9
          at pc $python $root/Tests/Scenarios/programs/read_to_end.py $(alias_of site-a web) 8006 / 10
          """)
        #expect(output.lastLine == "ECONNRESET", "\(output)")
      }
    }
  }
}
