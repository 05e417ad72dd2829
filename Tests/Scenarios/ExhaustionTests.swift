import Testing

extension WholeSystem {
  /// Hosts on a machine that has run out of something: what runs goes on, what is new is refused with a reason.
  @Suite struct Exhaustion {
    /// `limit PART PROGRAM COUNT`: from now on new descriptors have numbers below that. `unused PART PROGRAM`: the
    /// lowest number that is free, which as a limit leaves nothing.
    private static let limit = """
      limit() { prlimit --pid "$(host_pid "$1" "$2")" --nofile="$3:"; }
      unused() {
        local number=0 all
        all=/proc/$(host_pid "$1" "$2")/fd
        while [ -e "$all/$number" ]; do number=$((number + 1)); done
        echo "$number"
      }
      """

    @Test("no descriptors left at the GateManager: nobody new, sessions go on, and it comes back")
    func gateWithoutDescriptors() throws {
      try World.run { world in
        try world.require(
          """
          \(Self.limit)
          limit relay gatemanager $((($(unused relay gatemanager) + 20) * 4 / 3))
          # The limit is looked at twice a second.
          sleep 1
          at pc $python $root/Tests/Scenarios/programs/hold.py ${gate%:*} ${gate##*:} 50 >$state/held 2>&1 </dev/null &
          eventually 30 grep -q stay $state/held
          """)
        // Those that took the last ones stay only until their handshake's time is over.
        let held = try world.require("cat $state/held").text
        #expect(!held.hasPrefix("50 "), "\(held)")
        try world.expect("logged gatemanager 'no new connection can be served.*RLIMIT_NOFILE'")
        // The session has its pipes, and the command line its answer.
        try world.expect(
          "fetch $(alias_of site-a server) 8000/index.html --upload-file $bin/sitemanager --output /dev/null")
        try world.expect(
          "briefly relay $bin/gatemanager status --directory $state/gatemanager | grep -q outOfDescriptors")
        try world.require("kill $(host_pid pc python3)")
        try world.expect(
          "lm disconnect site-a; eventually 30 connect_site site-a && web_page site-a web 4 'web panel of site a'")
        try world.expect("logged gatemanager 'new connections are served again'")

        // Not even one for accept(2): the connection waits in the kernel, and nothing spins.
        try world.require(
          """
          \(Self.limit)
          limit relay gatemanager $(unused relay gatemanager)
          (probe ${gate%:*} ${gate##*:} 5; probe ${gate%:*} ${gate##*:} 5) >/dev/null
          """)
        let used = try world.milliseconds(
          "before=$(cpu relay gatemanager); sleep 4; echo $(($(cpu relay gatemanager) - before))")
        #expect(used < 1_000, "\(used) ms of processor time in 4 s")
        try world.expect("web_page site-a web 4 'web panel of site a'")
        #expect(try world.milliseconds("count_logged gatemanager 'no new connection can be served'") == 2)
        try world.require("\(Self.limit)\nlimit relay gatemanager 1024")
        try world.expect(
          "lm disconnect site-a; eventually 30 connect_site site-a && web_page site-a web 4 'web panel of site a'")
      }
    }

    @Test("no descriptors left at the site and on the PC: refused with a reason, what is open goes on")
    func endsWithoutDescriptors() throws {
      try World.run(sites: ["a", "b"]) { world in
        try world.require(
          """
          # Shorter than the 10 s that the command line waits below.
          at pc $python $root/Tests/Scenarios/programs/idle.py $(alias_of site-a server) 8000 7 >$state/idle &
          eventually 10 grep -q waiting $state/idle
          \(Self.limit)
          limit site-a sitemanager $(unused site-a sitemanager)
          limit pc linkmanager $(unused pc linkmanager)
          """)
        let seen = try world.run("probe $(alias_of site-a web) 80")
        #expect(seen.text.hasPrefix("EHOSTUNREACH"), "\(seen)")
        try world.expect("logged site-a 'flow refused.*Too many open files'")
        // The other site isn't concerned: a flow takes no descriptor of the PC's host.
        try world.expect("web_page site-b web 4 'web panel of site b'")
        // The command line waits for one.
        try world.require("(lm status >$state/status; echo $? >$state/status.exit) &")
        let used = try world.milliseconds(
          """
          before=$(($(cpu site-a sitemanager) + $(cpu pc linkmanager)))
          sleep 4
          echo $(($(cpu site-a sitemanager) + $(cpu pc linkmanager) - before))
          """)
        #expect(used < 1_000, "\(used) ms of processor time in 4 s")
        try world.expect("eventually 15 grep -q answered $state/idle")
        try world.require("\(Self.limit)\nlimit site-a sitemanager 1024; limit pc linkmanager 1024")
        try world.expect("eventually 5 grep -qx 0 $state/status.exit && web_page site-a web 4 'web panel of site a'")
        try world.expect("lm status | grep 'Too many open files'")
      }
    }

    @Test("full disks: what runs goes on, what can't be written is named, nothing is damaged, and it comes back")
    func fullDisks() throws {
      try World.run(hosts: false) { world in
        try world.require(
          """
          for place in gatemanager:8m linkmanager:512k site-a:512k log:512k; do
            size=${place#*:} place=${place%:*}
            mkdir -p $state/$place && mount -t tmpfs -o size=$size tmpfs $state/$place || exit 1
          done
          start_gate && start_site a && start_link && connect_site site-a
          """)
        let fill = "fill() { cat /dev/zero >$state/$1/fill 2>/dev/null; }; empty() { rm $state/$1/fill; }"
        let login =
          "briefly pc $bin/linkmanager login --directory $state/second --gate $gate --user technician "
          + "--password-file $state/password --yes"
        try world.require(
          "\(fill)\nfor place in gatemanager linkmanager site-a; do fill $place; done; $bin/gatemanager site list --directory $state/gatemanager"
        )
        try world.expect("web_page site-a web 4 'web panel of site a'")

        // A login can't be kept: the user is told so, and the operator which file and why.
        let refused = try world.run(login)
        #expect(refused.status != 0 && refused.text.contains("see its log"), "\(refused)")
        try world.expect("logged gatemanager 'access.sqlite.*\\(full\\|I/O\\)'")
        let added = try world.run("$bin/gatemanager site add site-c --directory $state/gatemanager")
        #expect(added.status != 0 && added.text.contains("access.sqlite"), "\(added)")
        // A site's new key can't be pinned: then it isn't connected to.
        try world.require(
          "\(fill)\nrm -f $state/linkmanager/known-sites.json; lm disconnect site-a; fill linkmanager; true")
        let unpinned = try world.run("lm connect site-a")
        #expect(unpinned.status != 0 && unpinned.text.contains("known-sites.json"), "\(unpinned)")
        let enrolled = try world.run(
          "briefly site-a $bin/sitemanager enroll --replace --directory $state/site-a --gate $gate --name site-a --code 0000"
        )
        #expect(enrolled.status != 0)
        // What was there is there, and nothing else.
        try world.expect(
          """
          for file in $state/gatemanager/gate.json $state/linkmanager/*.json $state/site-a/*.json; do
            [ ! -e $file ] || $python -m json.tool $file >/dev/null || exit 1
          done
          [ -z "$(find $state/gatemanager $state/linkmanager $state/site-a -name '*.json.*')" ]
          """)
        try world.require("\(fill)\nfor place in gatemanager linkmanager site-a; do empty $place; done")
        try world.expect("\(login) && connect_site site-a && web_page site-a web 4 'web panel of site a'")

        // The logs' own disk: the service doesn't mind, and says later what is missing.
        // More lines than the last pages of the files have room for.
        try world.require(
          """
          \(fill)
          fill log
          for round in {1..6}; do
            lm disconnect site-a; connect_site site-a || exit 1
            for page in {1..8}; do fetch $(alias_of site-a web) >/dev/null || exit 1; done
          done
          empty log
          lm disconnect site-a; connect_site site-a
          """)
        try world.expect("web_page site-a web 4 'web panel of site a'")
        for log in ["gatemanager", "site-a"] {
          try world.expect("eventually 5 logged \(log) 'lines of this log were lost'")
        }
      }
    }

    @Test("the device is deleted, set down and stripped: made good by itself, and open connections go on")
    func deviceIsTakenAway() throws {
      try World.run { world in
        let before = try world.linkStatus().sites.first?.session
        try world.startDownload("bulk", megabytes: 40, rate: 2)
        let layout = """
          ip -n $prefix-pc -o address show dev relay0 | awk '$4 !~ /^fe80/ { print $4 }'
          for family in -4 -6; do ip -n $prefix-pc $family route show dev relay0 | awk '$1 !~ /^fe80/ { print $1 }'; done
          """
        let whole = try world.require(layout).text
        let damages = [
          ("link delete relay0", "the device is back"), ("link set relay0 down", "the link was down"),
          ("address flush dev relay0", "the address 198.18.0.1 was missing"),
          ("route delete 198.18.0.0/15 dev relay0", "the route to 198.18.0.0/15 was missing"),
        ]
        for (damage, report) in damages {
          try world.require("ip -n $prefix-pc \(damage)")
          let back = try world.milliseconds("time_until 15 fetch $(alias_of site-a web) '' --max-time 3")
          print("ip \(damage): back after \(back) ms")
          #expect(back < 8_000, "\(damage): back after \(back) ms")
          try world.expect("eventually 5 logged linkmanager '\(report)'")
          try world.expect("web_page site-a camera6 6 'camera of site a'")
          #expect(try world.require(layout).text == whole, "\(damage)")
        }
        try world.expect(
          "eventually 40 test -s $state/bulk; grep -qx 0 $state/bulk && cmp $state/device-a/web/bulk $state/bulk.out")
        #expect(try world.linkStatus().sites.first?.session == before)
      }
    }

    @Test("a host that is killed while it writes leaves the old file or the new one")
    func killedWhileWriting() throws {
      try World.run(hosts: false) { world in
        try world.expect(
          """
          start_gate && $bin/gatemanager site add site-c --directory $state/gatemanager >/dev/null || exit 1
          for round in {1..60}; do
            $bin/gatemanager site add site-c --renew --directory $state/gatemanager >/dev/null 2>&1 &
            # The name is bash's own: between 0 and 32767, so up to 30 ms.
            sleep 0.0$((RANDOM / 1100))
            kill -KILL $! 2>/dev/null
            wait $! 2>/dev/null
            $bin/gatemanager site list --directory $state/gatemanager | grep -q '^site-c' || exit 1
          done
          $bin/gatemanager audit verify --directory $state/gatemanager
          """)
      }
    }
  }
}
