import Testing

extension WholeSystem {
  /// Layer 2: frames between a device on the PC and an interface of the site.
  @Suite struct Ethernet {
    private static let library = ". $root/Tests/Scenarios/ethernet.sh; "

    private func run(_ rule: String, mtu: Int? = nil, _ body: (World) throws -> Void) throws {
      try World.run(hosts: false) { world in
        if let mtu {
          try world.require("at site-a ip link set lan mtu \(mtu) && at device-a ip link set lan mtu \(mtu)")
        }
        try world.require(Self.library + "compile_frames && start_cell '\(rule)'")
        try body(world)
      }
    }

    private static let rule =
      "{types: [arp, ipv4, \"0x88b5\"], network: 192.168.10.0/24, tcp: [80], ping: true}"

    @Test("arping, a protocol without IP, IP by its rules; and what isn't permitted is refused with its reason")
    func exchange() throws {
      try run(Self.rule) { world in
        try world.expect(
          Self.library + """
            at pc ip address add 192.168.10.99/24 dev $tap
            at pc $python $root/Demo/programs/frames.py arping $tap 192.168.10.99 192.168.10.20 |
              tee /dev/stderr | grep -q "is at $(device_mac)"
            """)
        try world.expect(
          Self.library + """
            answering 0x88b5 && ask 0x88b5 --first | tee /dev/stderr | grep -qx "answers 1 $(device_mac)"
            """)
        try world.expect(
          "at pc ping -c 3 -i 0.2 -W 2 192.168.10.10 && at pc curl -sS --max-time 5 http://192.168.10.10/")
        // The rule has port 80 alone.
        let refused = try world.run("at pc curl -sS --max-time 2 http://192.168.10.10:8000/ 2>&1")
        #expect(refused.status != 0, "\(refused)")
        try world.expect(
          Self.library + """
            answering 0x88b6; ! ask 0x88b6 --seconds 1 &&
              lm status | tee /dev/stderr | grep -q 'refused from the PC: EtherType not permitted: 1$' &&
              grep -q 'EtherType not permitted: 0x88b6' $state/log/linkmanager
            """)
        // The site's own filter stands behind it, and devices open nothing.
        try world.expect(
          Self.library + """
            tell 0x88b6 --to $(tap_mac); sleep 0.5
            at device-a ping -c 1 -W 1 192.168.10.99 && exit 1
            briefly site-a $bin/sitemanager status --directory $state/site-a | tee /dev/stderr |
              grep -q 'refused from the site: device begins to talk to the PC'
            """)
      }
    }

    @Test("captures at both ends show the frames of an agent, and those that its rule refuses with their reasons")
    func captures() throws {
      try run(Self.rule) { world in
        try world.expect(
          Self.library + """
            found() { tshark -n -r "$1" -T fields "${@:2}" 2>>$state/log/tshark; }
            lm capture site-a/cell --filter 'ether proto 0x88b5 or ether proto 0x88b6' \\
              --write $state/pc.pcapng 2>$state/log/capture-pc &
            lm capture --drops --write $state/drops.pcapng 2>$state/log/capture-drops &
            at site-a timeout --foreground 60 $bin/sitemanager capture --agent cell --directory $state/site-a \\
              --write $state/site.pcapng 2>$state/log/capture-site &
            eventually 10 logged linkmanager 'capture begins' 2 && eventually 10 logged site-a 'capture begins' || exit 3
            answering 0x88b5 && ask 0x88b5 --first >/dev/null || exit 4
            ask 0x88b6 --seconds 1; tell 0x88b6 --to $(tap_mac); sleep 0.5
            pkill -INT -f "manager capture.*--directory $state"
            sleep 2
            for file in pc drops site; do
              capinfos -M -c $state/$file.pcapng >&2 || exit 5
              tshark -n -r $state/$file.pcapng 2>&1 >/dev/null | grep -v 'Running as user' && exit 5
            done
            found $state/pc.pcapng -e eth.type -e frame.comment | sort | uniq -c | tee $state/pc.txt >&2
            grep -q '0x88b5.agent site-a/cell; permitted$' $state/pc.txt || exit 6
            grep -q '0x88b6.agent site-a/cell; refused: EtherType not permitted' $state/pc.txt || exit 7
            found $state/drops.pcapng -e frame.comment >$state/drops.txt
            grep -q 'cell; refused: EtherType not permitted' $state/drops.txt || exit 8
            grep -q 'permitted$' <(grep -v 'not permitted$' $state/drops.txt) && exit 8
            found $state/site.pcapng -e eth.src -e frame.comment | tee $state/site.txt >&2
            grep -q "$(device_mac).agent cell; permitted$" $state/site.txt || exit 9
            """)
      }
    }

    @Test("jumbo frames and VLAN tags survive, and super-segments pass whole")
    func large() throws {
      try run("{types: [arp, ipv4, \"0x88b5\"], tcp: [80], vlans: [0, 42]}", mtu: 9000) { world in
        try world.expect(Self.library + "[ \"$(at pc cat /sys/class/net/$tap/mtu)\" = 9000 ]")
        try world.expect(
          Self.library + """
            answering 0x88b5 && ask 0x88b5 --first --size 8986 --vlan 42 &&
              ask 0x88b5 --first --size 8986 && ! ask 0x88b5 --vlan 43 --seconds 1 &&
              lm status | grep -q 'VLAN not permitted: 1$'
            """)
        try world.expect(
          Self.library + """
            head -c 20000000 /dev/urandom >$state/device-a/web/large &&
              at pc ip address add 192.168.10.99/24 dev $tap &&
              at pc curl -sS --max-time 20 -o $state/large http://192.168.10.10/large &&
              cmp $state/large $state/device-a/web/large &&
              lm status --json | $python -c 'import json, sys
            assert json.load(sys.stdin)["ethernet"][0]["superSegments"] > 100'
            """)
      }
    }

    @Test("nobody takes the other side's addresses, and own frames don't come back")
    func spoofing() throws {
      try run("[\"0x88b5\"]") { world in
        try world.expect(
          Self.library + """
            answering 0x88b5 && ask 0x88b5 --first && ! ask 0x88b5 --source $(device_mac) --seconds 1 &&
              lm status | tee /dev/stderr | grep -q "PC uses a device's address: 1$"
            """)
        // One broadcast arrives once, and nothing of it at the PC again.
        try world.expect(
          Self.library + """
            at device-a $python $root/Demo/programs/frames.py hear lan 0x88b5 3 >$state/heard &
            hearer=$!; sleep 0.5; ask 0x88b5 --seconds 2 | tee /dev/stderr | grep -q '^answers 1 '; wait $hearer
            grep -qx 'heard 1' $state/heard
            """)
        // A loop at the site: the PC's own frames come from there.
        try world.expect(
          Self.library + """
            for _ in {1..20}; do tell 0x88b5 --source $(tap_mac) & done; wait
            eventually 5 carries_not
            lm status | tee /dev/stderr | grep -q 'a loop: the same Ethernet addresses come from both sides' &&
              logged site-a 'a loop: the same Ethernet'
            """)
      }
    }

    @Test("a PC that bridges its device with a cable to the same devices: cut, with the reason, and no storm")
    func bridgedLoop() throws {
      try run("{types: [\"0x88b5\"], open-to-pc: true}") { world in
        try world.expect(
          Self.library + """
            ip link add leg netns $prefix-pc type veth peer name leg netns $prefix-device-a || exit 3
            at device-a ip link add cell type bridge forward_delay 0 || exit 3
            for port in lan leg; do at device-a ip link set $port master cell up || exit 3; done
            at device-a ip link set cell up
            at pc ip link add office type bridge forward_delay 0 || exit 3
            for port in $tap leg; do at pc ip link set $port master office up || exit 3; done
            at pc ip link set office up
            before=$(at device-a cat /sys/class/net/leg/statistics/tx_packets)
            # One frame is enough for a storm, and none for the loop to be found.
            at pc $python $root/Demo/programs/frames.py ask office 0x88b5 --seconds 0.1
            eventually 10 carries_not || exit 4
            lm status | tee /dev/stderr | grep -q 'a loop: the same Ethernet addresses come from both sides' || exit 5
            sleep 2
            after=$(at device-a cat /sys/class/net/leg/statistics/tx_packets)
            echo "$((after - before)) frames on the cable" >&2
            [ $((after - before)) -lt 500 ]
            """)
      }
    }

    @Test("an interface that goes down, away and comes back is followed, and so is a session")
    func following() throws {
      try run("[\"0x88b5\"]") { world in
        try world.expect(
          Self.library + """
            answering 0x88b5 && ask 0x88b5 --first &&
              at site-a ip link set lan down && eventually 5 carries_not && lm status | grep -q 'l2-cell: down' &&
              at site-a ip link set lan up && eventually 5 carries && ask 0x88b5 --first &&
              at site-a ip link set lan down && at site-a ip link set lan name other &&
              eventually 5 carries_not && eventually 5 grep_status 'l2-cell: not there' &&
              at site-a ip link set other name lan && at site-a ip link set lan up && eventually 5 carries &&
              ask 0x88b5 --first
            """)
        // The device outlives the session, with its addresses.
        try world.expect(
          Self.library + """
            at pc ip address add 192.168.10.99/24 dev $tap; index=$(at pc cat /sys/class/net/$tap/ifindex)
            kill -KILL $(host_pid site-a sitemanager); eventually 20 carries_not
            start site-a site-a $bin/sitemanager run --directory $state/site-a --agents $state/site-a.yaml
            eventually 30 carries && [ "$(at pc cat /sys/class/net/$tap/ifindex)" = "$index" ] && ask 0x88b5 --first &&
              at pc ip address show dev $tap | grep -q 192.168.10.99
            """)
        try world.expect(Self.library + "lm disconnect site-a; ! at pc test -e /sys/class/net/$tap")
      }
    }

    @Test("50,000 frames a second of 200 bytes: none is lost or out of order, either way")
    func manyFrames() throws {
      try run("[\"0x88b5\"]") { world in
        for way in ["pc $tap device-a lan", "device-a lan pc $tap"] {
          let output = try world.expect(
            Self.library + """
              answering 0x88b5; ask 0x88b5 --first >/dev/null; answering_no_more
              flood \(way) 250000 200 50000; lm status | grep -A9 ethernet
              briefly site-a $bin/sitemanager status --directory $state/site-a | grep -A9 ethernet
              """)
          #expect(output.text.contains("received 250000 lost 0 reordered 0"), "\(output)")
        }
      }
    }
  }
}
