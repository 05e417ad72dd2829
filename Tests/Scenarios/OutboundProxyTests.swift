import Testing

extension WholeSystem {
  /// Where the only way out is an HTTP proxy.
  @Suite struct OutboundProxy {
    @Test("SiteManager and LinkManager get out through an HTTP CONNECT proxy, and only so")
    func throughTheProxy() throws {
      try World.run(hosts: false) { world in
        // The direct way is closed for both: what leaves for the GateManager's port is dropped.
        try world.require(
          """
          start_gate || exit 1
          cat >$state/tinyproxy.conf <<END
          Port 3128
          Listen 203.0.113.1
          Timeout 600
          MaxClients 20
          BasicAuth plant secret
          ConnectPort 443
          LogLevel Connect
          END
          start tinyproxy relay tinyproxy -d -c $state/tinyproxy.conf
          eventually 10 at relay $python $programs/probe.py 203.0.113.1 3128 || exit 1
          for part in pc site-a; do
            at $part nft "add table ip closed; add chain ip closed out { type filter hook output priority 0; };
              add rule ip closed out tcp dport 443 drop" || exit 1
            probe_direct=$(at $part $python $programs/probe.py 203.0.113.1 443 2) && exit 2
          done
          exit 0
          """)
        try world.require(
          """
          proxy=http://plant:secret@203.0.113.1:3128
          code=$(briefly relay $bin/gatemanager site add site-a --directory $state/gatemanager | tail -n 1)
          write_agents $state/site-a.yaml
          briefly site-a $bin/sitemanager enroll --directory $state/site-a --gate $gate --name site-a --code $code \
            --proxy $proxy || exit 1
          start site-a site-a $bin/sitemanager run --directory $state/site-a --agents $state/site-a.yaml
          briefly pc $bin/linkmanager login --directory $state/linkmanager --gate $gate --user technician \
            --password-file $state/password --yes --proxy $proxy || exit 1
          start linkmanager pc $bin/linkmanager run --directory $state/linkmanager
          eventually 15 lm status && connect_site site-a
          """)
        try world.expect("web_page site-a web 4 'web panel of site a'")
        // A control and a data connection each went through the proxy.
        let connects = try world.require("grep -c 'CONNECT 203.0.113.1:443' $state/log/tinyproxy")
        #expect((Int(connects.lastLine) ?? 0) >= 4, "\(connects)")
        // The proxy's password is wrong: said so, and nothing else.
        let wrong = try world.run(
          """
          briefly pc $bin/linkmanager login --directory $state/other --gate $gate --user technician \
            --password-file $state/password --yes --proxy http://plant:wrong@203.0.113.1:3128
          """)
        #expect(wrong.status != 0 && wrong.text.contains("proxy"), "\(wrong)")
      }
    }
  }
}
