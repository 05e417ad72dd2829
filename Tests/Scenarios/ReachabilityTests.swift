import Testing

extension WholeSystem {
  /// What applications see of devices, beyond what the demonstration shows.
  @Suite struct Reachability {
    @Test("two sites with the same subnet, each reached by its own aliases")
    func sameSubnetTwice() throws {
      try World.run(sites: ["a", "b"]) { world in
        for letter in ["a", "b"] {
          let site = "site-\(letter)"
          try world.expect("web_page \(site) web 4 'web panel of site \(letter)'")
          try world.expect("dns_query \(site) \(letter)")
          try world.expect("ping_agent \(site) web 4")
          try world.expect("web_page \(site) camera6 6 'camera of site \(letter)'")
          try world.expect("ping_agent \(site) camera6 6")
        }
        try deniedPort(world)
        try refusedPort(world)
        try absentDevice(world)
        try world.expect("alias_not_given")
        try world.expect("address_not_named")
      }
    }

    /// A port that the agent doesn't name is prohibited by the LinkManager, whether or not something listens there.
    private func deniedPort(_ world: World) throws {
      let seen = try world.run("probe $(alias_of site-a web) 8080")
      #expect(seen.status == 1)
      // An ICMP "administratively prohibited" (RFC 1812) is EHOSTUNREACH to the application.
      #expect(seen.text.hasPrefix("EHOSTUNREACH"), "\(seen)")
      let explained = try world.run("lm explain $(alias_of site-a web):8080")
      #expect(explained.status == 1, "\(explained)")
      #expect(try world.run("lm explain $(alias_of site-a web):80").status == 0)
      let datagram = try world.run("at pc dig +notcp +time=1 +tries=1 -p 53 @$(alias_of site-a web) pump.plant.example")
      #expect(datagram.status != 0, "\(datagram)")
      // The code on the wire, not only what the kernel makes of it.
      try world.expect(
        """
        at pc timeout 10 tcpdump -i relay0 -n -c 1 -v 'icmp[icmptype] = 3' >$state/icmp 2>$state/log/icmp &
        eventually 5 grep -q 'listening on' $state/log/icmp
        probe $(alias_of site-a web) 8081 >/dev/null
        wait
        grep -i 'admin prohibited' $state/icmp
        """)
    }

    /// The device's own answer comes through: a RST for a RST, and at once.
    private func refusedPort(_ world: World) throws {
      let seen = try world.run("probe $(alias_of site-a web) 443")
      #expect(seen.status == 1)
      #expect(seen.text.hasPrefix("ECONNREFUSED"), "\(seen)")
      #expect(try world.run("lm explain $(alias_of site-a web):443").status == 0)
    }

    /// A device that isn't there is unreachable through the tunnel, as it is on its own network.
    private func absentDevice(_ world: World) throws {
      try world.require(
        "at device-a ip address delete 192.168.10.20/24 dev lan && at site-a ip neighbour flush dev lan")
      let seen = try world.run("probe $(alias_of site-a plc) 502 15")
      #expect(seen.text.hasPrefix("EHOSTUNREACH"), "\(seen)")
    }

    @Test("half-close: the answer comes only after the end of the request")
    func halfClose() throws {
      try World.run { world in
        let output = try world.expect(
          """
          at device-a $python $programs/../../Tests/Scenarios/programs/after_end.py serve 192.168.10.10 8005 \
            >$state/log/after_end 2>&1 </dev/null &
          eventually 5 at site-a $python $programs/probe.py 192.168.10.10 8005
          at pc $python $programs/../../Tests/Scenarios/programs/after_end.py ask $(alias_of site-a web) 8005 20000000
          """)
        #expect(output.lastLine.hasPrefix("same"), "\(output)")
      }
    }
  }
}
