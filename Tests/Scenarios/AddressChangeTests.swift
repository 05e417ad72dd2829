import Testing

extension WholeSystem {
  /// Hosts that find themselves elsewhere: another address of their own, or of the GateManager.
  @Suite struct AddressChange {
    @Test("another address for the PC, and for the site: noticed at once, and everything comes back by itself")
    func hostsMove() throws {
      try World.run { world in
        for (part, old, new) in [("pc", 10, 11), ("site-a", 21, 31)] {
          let before = try world.linkStatus().sites.first?.session
          try world.startDownload("bulk-\(part)", megabytes: 100)
          // As when a lease ends and the next one is for another address. What was sent from the old one is answered
          // to nobody.
          try world.require(
            "ip -n $prefix-\(part) address delete 203.0.113.\(old)/24 dev wan && "
              + "ip -n $prefix-\(part) address add 203.0.113.\(new)/24 dev wan")
          let back = try world.milliseconds("time_until 40 fetch $(alias_of site-a web) '' --max-time 3")
          print("another address for \(part): back after \(back) ms")
          #expect(back < 15_000, "\(part): back after \(back) ms")
          try world.expect("eventually 5 test -s $state/bulk-\(part) && ! grep -qx 0 $state/bulk-\(part)")
          let after = try world.linkStatus().sites.first
          #expect(after?.state == "CONNECTED" && after?.session != before, "\(String(describing: after))")
        }
        // The site holds one session, not those of before as well.
        #expect(try world.siteStatus("a").sessions.count == 1)
      }
    }

    @Test(
      "another address behind the GateManager's name, with its resolver down for a while",
      .enabled(if: Soak.isWanted, Comment(rawValue: Soak.comment)))
    func gateMoves() throws {
      try World.run(hosts: false) { world in
        // A resolver beside the public network, and hosts that know the GateManager by its name only.
        try world.require(
          """
          echo '203.0.113.1 gm.example' >$state/names
          for part in pc site-a; do
            mkdir -p /etc/netns/$prefix-$part && echo 'nameserver 203.0.113.22' >/etc/netns/$prefix-$part/resolv.conf
          done
          """)
        let resolver = """
          start resolver site-b dnsmasq --keep-in-foreground --conf-file=/dev/null --pid-file= --log-facility=- \
            --user=root --no-resolv --no-hosts --addn-hosts=$state/names --listen-address=203.0.113.22 --bind-interfaces
          """
        try world.require(resolver)
        let setting = "gate_name=gm.example:443 gate_listen=0.0.0.0:443"
        try world.require("\(setting); start_gate && start_site a && start_link && connect_site site-a")
        try world.expect("web_page site-a web 4 'web panel of site a'")

        try world.startDownload("bulk", megabytes: 200)
        // The old address is dead, the new one is there; the name follows when the resolver is back.
        try world.require(
          """
          kill -KILL $(host_pid site-b dnsmasq)
          ip -n $prefix-relay address delete 203.0.113.1/24 dev public
          ip -n $prefix-relay address add 203.0.113.2/24 dev public
          echo '203.0.113.2 gm.example' >$state/names
          """)
        try world.expect("eventually 25 logged linkmanager 'session ended.*silent'")
        try world.expect(
          "eventually 25 logged linkmanager 'not connected'; logged site-a 'no connection to GateManager'")
        try world.require("sleep 15; \(resolver)")
        let back = try world.milliseconds("time_until 60 fetch $(alias_of site-a web) '' --max-time 3")
        print("GateManager's name: back \(back) ms after its resolver")
        #expect(back < 30_000, "back \(back) ms after the resolver")
        try world.expect("test -s $state/bulk && ! grep -qx 0 $state/bulk")
        #expect(try world.siteStatus("a").connected)
      }
    }
  }
}
