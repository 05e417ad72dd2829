import Testing

extension WholeSystem {
  /// The path between PC and relay, whose MTU shrinks.
  @Suite struct OuterPath {
    /// A router between PC and relay: site B's host, which has nothing else to do. It forwards what it is given by its
    /// routes' MTU, and complains by ICMP.
    private static let router = """
      at site-b sysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.all.send_redirects=0 net.ipv4.conf.wan.send_redirects=0 &&
        at pc ip route replace 203.0.113.1/32 via 203.0.113.22 &&
        at relay ip route replace 203.0.113.10/32 via 203.0.113.22
      """

    private func shrink(to mtu: Int) -> String {
      """
      for peer in 203.0.113.1 203.0.113.10; do at site-b ip route replace $peer/32 dev wan mtu \(mtu); done
      """
    }

    /// Downloads and uploads while the path's MTU goes down in steps; both have to arrive whole.
    private func transfer(_ world: World, _ mtus: [Int]) throws -> Output {
      try world.run(
        """
        server=$(alias_of site-a server)
        fetch $server 8000/random --limit-rate 8M --max-time 100 --output $state/received &
        fetching=$!
        at pc curl --silent --show-error --max-time 100 --noproxy '*' --limit-rate 8M \
          --upload-file $state/device-a/web/random $(url $server 8000/random) >$state/answer &
        sending=$!
        \(mtus.map { "sleep 2; \(shrink(to: $0))" }.joined(separator: "\n"))
        wait $fetching && cmp $state/device-a/web/random $state/received || exit 1
        wait $sending && grep -q $(sha256sum <$state/device-a/web/random | cut -d ' ' -f 1) $state/answer || exit 2
        at pc ss -Htin dst 203.0.113.1 | grep -o 'pmtu:[0-9]*' | sort | uniq -c
        """, limit: 200)
    }

    private func withRouter(_ body: (World) throws -> Void) throws {
      try World.run(hosts: false) { world in
        try world.require(Self.router)
        try world.require("start_gate && start_site a && start_link && connect_site site-a")
        try world.require("head -c 80000000 /dev/urandom >$state/device-a/web/random")
        try body(world)
      }
    }

    @Test("the path's MTU shrinks during transfers, and routers say so")
    func shrinks() throws {
      try withRouter { world in
        let session = try world.linkStatus().sites.first?.session
        let output = try transfer(world, [1400, 1280, 576])
        print("path MTU:", output.lastLine)
        #expect(output.status == 0, "\(output)")
        #expect(output.text.contains("pmtu:576"), "\(output)")
        // The same session carried it all.
        #expect(try world.linkStatus().sites.first?.session == session)
      }
    }

    @Test(
      "the path's MTU shrinks and nobody says so: the hosts' TCP finds out (tcp_mtu_probing)",
      .enabled(if: Soak.isWanted, "\(Soak.comment)"))
    func blackHole() throws {
      try withRouter { world in
        try world.require(
          """
          at site-b nft 'add table ip mute; add chain ip mute out { type filter hook output priority 0; };
            add rule ip mute out icmp type destination-unreachable drop'
          for part in pc relay site-a; do at $part sysctl -qw net.ipv4.tcp_mtu_probing=1; done
          """)
        let output = try transfer(world, [1280])
        print("path MTU, a black hole:", output.lastLine)
        #expect(output.status == 0, "\(output)")
      }
    }
  }
}
