import Foundation
import Testing

extension WholeSystem {
  /// What the running hosts could still do if somebody took them over.
  @Suite struct Confinement {
    @Test("every thread of the running hosts is confined")
    func everyThread() throws {
      try World.run { world in
        // With flows open, so that all kinds of threads are there.
        let output = try world.require(
          #"""
          at pc $python $root/Tests/Scenarios/programs/read_to_end.py $(alias_of site-a server) 8000 /none 10 \
            >/dev/null 2>&1 &
          for host in "relay gatemanager" "site-a sitemanager" "pc linkmanager"; do
            pid=$(host_pid $host)
            for status in /proc/$pid/task/*/status; do
              awk -v host="${host#* }" '
                /^(CapInh|CapPrm|CapEff|CapBnd|CapAmb|NoNewPrivs|Seccomp|Seccomp_filters):/ { line = line " " $2 }
                END { print host line }' "$status"
            done
          done
          """#)
        // CapInh, CapPrm, CapEff, CapBnd, CapAmb, NoNewPrivs, Seccomp, Seccomp_filters.
        let none = "0000000000000000"
        for (host, kept) in [
          ("gatemanager", none), ("sitemanager", "0000000000002000"), ("linkmanager", "0000000000001000"),
        ] {
          let lines = output.text.split(separator: "\n").filter { $0.hasPrefix(host + " ") }
          #expect(lines.count >= 4, "\(output)")
          for line in lines { #expect(line == "\(host) \(none) \(kept) \(kept) \(kept) \(none) 1 2 1", "\(output)") }
        }
      }
    }

    @Test("status says what a host is kept from, and nothing of it failed")
    func status() throws {
      try World.run { world in
        let output = try world.require(
          """
          at relay $bin/gatemanager status --directory $state/gatemanager
          at site-a $bin/sitemanager status --directory $state/site-a
          lm status
          """)
        for kept in ["no capabilities", "net_raw", "net_admin"] {
          #expect(output.text.contains("confined: \(kept); system calls filtered; files by Landlock "), "\(output)")
        }
        let logs = try world.require("cat $state/log/gatemanager* $state/log/site-a $state/log/linkmanager")
        #expect(!logs.text.contains("confined in part"), "\(logs)")
      }
    }

    @Test("a host that has to be confined doesn't start where that can't be; one that isn't, or in part, says so")
    func demands() throws {
      try World.run(hosts: false) { world in
        let output = try world.require(
          """
          run_options=(--confinement off)
          start_gate || exit 1
          at relay $bin/gatemanager status --directory $state/gatemanager | grep confined
          kill $(host_pid relay gatemanager)
          # Without CAP_IPC_LOCK, and with a limit on locked memory, keys can't be locked.
          limited() {
            at relay timeout 3 prlimit --memlock=65536 setpriv --bounding-set=-ipc_lock \
              $bin/gatemanager run --directory $state/gatemanager --listen $gate_listen "$@" 2>&1
            echo status $?
          }
          limited --confinement required
          limited
          """)
        let parts = output.text.components(separatedBy: "status ")
        try #require(parts.count == 3, "\(output)")
        #expect(parts[0].contains("not confined") && parts[0].contains("no locked memory"), "\(output)")
        #expect(parts[1].hasPrefix("71") && parts[1].contains("confined in part"), "\(output)")
        #expect(parts[1].contains("missing=\"locked memory\"") && parts[2].hasPrefix("124"), "\(output)")
      }
    }

    @Test("a backup is made by a service that can write to its own directory only")
    func backups() throws {
      try World.run(hosts: false) { world in
        try world.require("start_gate")
        let output = try world.require(
          """
          cd $state && mkdir elsewhere
          at relay $bin/gatemanager backup elsewhere/copy --directory $state/gatemanager || exit 1
          at relay $bin/gatemanager backup elsewhere/copy --directory $state/gatemanager || exit 1
          at relay $bin/gatemanager backup /dev/shm/$prefix.copy --directory $state/gatemanager || exit 1
          cmp elsewhere/copy /dev/shm/$prefix.copy >/dev/null || true
          stat -c '%a %n' elsewhere/* /dev/shm/$prefix.copy
          rm /dev/shm/$prefix.copy
          ls $state/gatemanager | grep -c backup
          exit 0
          """)
        #expect(
          output.text.split(separator: "\n").map { $0.split(separator: " ").first ?? "" } == ["600", "600", "0"],
          "\(output)")
      }
    }

    @Test("a dump of GateManager under load holds no payload, no key of a session and none of its own")
    func dumps() throws {
      try World.run { world in
        let output = try world.require(
          #"""
          payload=RVPAYLOAD-$RANDOM$RANDOM$RANDOM
          yes "$payload" | head -c 100000000 >$state/device-a/web/marked
          mkfifo $state/probe-input
          at pc $bin/SessionProbe $state/linkmanager site-a server <$state/probe-input >$state/probe 2>$state/log/probe &
          exec 9>$state/probe-input
          eventually 20 test -s $state/probe || { cat $state/log/probe; exit 1; }
          read -r send receive <$state/probe
          (while fetch $(alias_of site-a server) 8000/marked --output /dev/null; do :; done) 2>/dev/null &
          load=$!
          sleep 1
          pid=$(host_pid relay gatemanager)
          # As a crash would do it: nothing is left behind. Then as root can, who sees all that isn't withheld from dumps.
          gcore -o $state/core $pid >$state/log/gcore 2>&1 || { cat $state/log/gcore; exit 1; }
          kill $load
          for secret in "$payload" hex:$send hex:$receive; do
            $python $root/Tests/Scenarios/programs/scan_memory.py --file $state/core.$pid "$secret" || exit 1
          done
          for key in server grant ca; do
            digits=$(openssl ec -in $state/gatemanager/$key.key -noout -text 2>/dev/null |
              awk '/^priv:/ { on = 1; next } /^pub:/ { on = 0 } on' | tr -d ' :\n' | tail -c 64)
            reversed=$(echo $digits | fold -w 2 | tac | tr -d '\n')
            line=$(sed -n 2p $state/gatemanager/$key.key)
            for form in hex:$digits hex:$reversed "$line"; do
              $python $root/Tests/Scenarios/programs/scan_memory.py --file $state/core.$pid "$form" ||
                { echo "$key.key as $form"; exit 1; }
            done
            # Where it has to be: in memory that isn't dumped.
            $python $root/Tests/Scenarios/programs/scan_memory.py $pid hex:$reversed && exit 1
          done
          cd $state && kill -ABRT $pid
          gone() { [ -z "$(host_pid relay gatemanager)" ]; }
          eventually 10 gone
          find / -xdev -newer $state/probe -name 'core*' -type f -size +1M ! -path "$state/core.$pid" 2>/dev/null
          exec 9>&-
          exit 0
          """#, limit: 180)
        let lines = output.text.split(separator: "\n").map { $0.split(separator: " ").compactMap { Int($0) } }
        try #require(lines.count == 3 + 3 * 4 && lines.allSatisfy { $0.count == 2 }, "\(output)")
      }
    }
  }
}
