import Foundation
import Testing

extension WholeSystem {
  /// What passes is to be seen by those who may, with real programs that read it.
  @Suite struct Captures {
    /// sm VERB...: the command line of site A. `captured FILE FIELDS...`: what tshark finds in a file.
    private static let functions = """
      sm() { at site-a timeout --foreground 30 "$bin/sitemanager" "$@" --directory "$state/site-a"; }
      captured() { tshark -n -r "$1" -T fields "${@:2}" 2>>$state/log/tshark; }
      whole() { capinfos -M -c "$1" 2>&1 && tshark -n -r "$1" 2>&1 >/dev/null; }
      permit() { sed -i '/name: web/a\\    capture: true' $state/site-a.yaml && sm reload; }

      """

    private func run(_ body: (World) throws -> Void) throws {
      try World.run { world in
        try world.require("alias_of site-a web")
        try body(world)
      }
    }

    @discardableResult
    private func expect(_ script: String, _ world: World, limit: Int = 120) throws -> String {
      try world.expect(Self.functions + script, limit: limit).text
    }

    @Test("a live capture in tshark shows one agent's flow in plain, and not another's")
    func liveCapture() throws {
      try run { world in
        try expect(
          """
          lm capture site-a/web 2>$state/log/capture | tshark -l -n -V -r - >$state/seen 2>$state/log/tshark-live &
          eventually 10 logged linkmanager 'capture begins'
          fetch $(alias_of site-a server) 8000/ >/dev/null
          fetch $(alias_of site-a web) | grep -q "web panel of site a $marker"
          eventually 15 grep -q "web panel of site a $marker" $state/seen || exit 3
          ! grep -q "$(alias_of site-a server)" $state/seen || exit 4
          grep -q "agent site-a/web; flow [0-9a-f]*-[0-9.]*; permitted" $state/seen || exit 5
          pkill -INT -f "linkmanager capture site-a/web --directory $state" || exit 6
          wait
          eventually 10 logged linkmanager 'capture ends' || exit 7
          ! grep -i -e error -e malformed -e "tshark:" $state/log/tshark-live
          """, world)
      }
    }

    @Test("files are read without a complaint: super-segments, drops with their reasons, and what a site carries")
    func files() throws {
      try run { world in
        let output = try expect(
          """
          lm capture --write $state/link.pcapng 2>$state/log/capture-link &
          lm capture --drops --filter 'tcp' --write $state/drops.pcapng 2>$state/log/capture-drops &
          sm capture --agent web --write $state/site.pcapng 2>$state/log/capture-site &
          sm capture --interface lan --filter 'tcp port 80' --write $state/lan.pcapng 2>$state/log/capture-lan &
          eventually 10 logged linkmanager 'capture begins' 2 && eventually 10 logged site-a 'capture begins' 2 || exit 3
          head -c 3000000 /dev/urandom >$state/device-a/web/random
          fetch $(alias_of site-a web) 80/random | cmp - $state/device-a/web/random || exit 4
          fetch $(alias_of site-a web 6) 80/index.html >/dev/null || exit 5
          probe $(alias_of site-a web) 8080
          probe $(alias_of site-a web) 443
          sleep 1
          pkill -INT -f "capture .*--directory $state"
          wait
          cat $state/log/capture-*
          for file in link drops site lan; do whole $state/$file.pcapng; done
          captured $state/link.pcapng -e frame.comment | sort | uniq -c | sort -n
          """, world)
        #expect(output.contains("packets captured"), "\(output)")
        #expect(!output.contains("tshark:") && !output.contains("capinfos:"), "\(output)")
        #expect(output.contains("super-segment: parts of"), "\(output)")
        // The page of 3 MB, byte for byte, from both ends of the tunnel.
        for file in ["link", "site"] {
          try expect(
            """
            mkdir -p $state/objects && tshark -n -q -r $state/\(file).pcapng --export-objects http,$state/objects >/dev/null
            cmp $state/objects/random $state/device-a/web/random && rm -r $state/objects
            """, world)
        }
        let drops = try expect("captured $state/drops.pcapng -e tcp.dstport -e tcp.srcport -e frame.comment", world)
        #expect(drops.contains("8080\t") && drops.contains("denied: agent site-a/web permits tcp 80"), "\(drops)")
        #expect(drops.contains("443") && drops.contains("refused: the device refused"), "\(drops)")
        let site = try expect(
          """
          captured $state/site.pcapng -e frame.interface_name -e ip.dst -e tcp.flags.str | sort -u
          captured $state/site.pcapng -o tcp.check_checksum:TRUE -o ip.check_checksum:TRUE -e frame.number \
            -Y 'tcp.analysis.flags || tcp.checksum.status == "Bad" || ip.checksum.status == "Bad"' | wc -l
          """, world)
        #expect(site.contains("web\t192.168.10.10") && site.hasSuffix("\n0\n"), "\(site)")
        let lan = try expect("captured $state/lan.pcapng -e eth.type -e tcp.dstport | sort -u", world)
        #expect(lan.contains("0x0800\t80"), "\(lan)")
        // What was captured goes through stack and filter again, and comes to the same.
        let replay = try expect("$bin/Simulator --replay $state/link.pcapng | tail -n 3", world)
        #expect(!replay.contains("DIFFERS"), "\(replay)")
      }
    }

    @Test("a capture at the site needs the agent's permission, and is seen and logged there")
    func fromRemote() throws {
      try run { world in
        let refused = try world.run(Self.functions + "lm capture --at site site-a/plc")
        #expect(refused.status == 77 && refused.text.contains("needs `capture: true`"), "\(refused)")
        let unpermitted = try world.run(Self.functions + "lm capture --at site site-a/web")
        #expect(unpermitted.status == 77, "\(unpermitted)")
        let output = try expect(
          """
          permit || exit 3
          lm capture --at site site-a/web --write $state/remote.pcapng 2>$state/log/capture &
          eventually 10 logged site-a 'capture begins' || exit 4
          sm status | grep "capture by technician" || exit 5
          fetch $(alias_of site-a web) >/dev/null
          fetch $(alias_of site-a server) 8000/ >/dev/null
          sleep 1
          pkill -INT -f "linkmanager capture .*--directory $state"
          wait
          eventually 10 logged site-a 'capture ends' || exit 6
          audited() { at relay "$bin/gatemanager" audit list --directory "$state/gatemanager" | grep "siteReport.*$1"; }
          eventually 10 audited captureEnded && audited captureBegan || exit 7
          cat $state/log/capture
          grep 'capture ends' $state/log/site-a
          whole $state/remote.pcapng
          captured $state/remote.pcapng -e frame.interface_name -e ip.dst -e http.file_data | sort -u
          """, world)
        #expect(output.contains("web\t192.168.10.10") && !output.contains("192.168.10.30"), "\(output)")
        #expect(output.contains("packets captured") && output.contains("technician at"), "\(output)")
        let wrong = try world.run(Self.functions + "lm capture --at site site-a/web --filter 'no filter'")
        #expect(wrong.status == 65 && wrong.text.contains("syntax error"), "\(wrong)")
        // Taken back, it ends.
        try expect(
          """
          lm capture --at site site-a/web --write $state/remote.pcapng 2>$state/log/capture &
          eventually 10 logged site-a 'capture begins' 2 || exit 3
          sed -i '/capture: true/d' $state/site-a.yaml && sm reload && eventually 10 logged site-a 'capture ends' 2
          """, world)
      }
    }

    @Test("Wireshark's own capture program finds agents among its interfaces, and captures one")
    func extcap() throws {
      try run { world in
        let output = try expect(
          """
          mkdir $state/extcap
          printf '#!/bin/sh\\nexec %s extcap --directory %s "$@"\\n' $bin/linkmanager $state/linkmanager \
            >$state/extcap/relayvpn-extcap && chmod +x $state/extcap/relayvpn-extcap
          # In a mount namespace of its own: another folder is not for root.
          folder=$(tshark -G folders 2>/dev/null | sed -n 's/^Extcap path:[[:space:]]*//p')
          wireshark() { at pc sh -c 'mount --bind "$0" "$1" && shift && exec timeout 30 tshark "$@"' $state/extcap "$folder" "$@"; }
          wireshark -D 2>/dev/null | grep relayvpn
          (for round in 1 2 3 4 5 6 7 8; do sleep 1; fetch $(alias_of site-a web) >/dev/null; done) &
          wireshark -n -i relayvpn:site-a:web -a duration:6 -w $state/extcap.pcapng 2>$state/log/tshark
          wait
          captured $state/extcap.pcapng -e tcp.dstport -e frame.comment | sort | uniq -c
          """, world)
        #expect(output.contains("relayvpn:site-a:web") && output.contains("RelayVPN: all agents"), "\(output)")
        #expect(output.contains("80\tagent site-a/web"), "\(output)")
      }
    }
  }
}
