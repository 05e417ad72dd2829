import Testing

extension WholeSystem {
  /// The relay passes what it can't read, and passes it in the kernel.
  @Suite struct Relay {
    @Test("bulk is spliced, and no payload is in the relay's memory")
    func readsNoPayload() throws {
      try World.run { world in
        let output = try world.require(
          #"""
          payload=RVPAYLOAD-$RANDOM$RANDOM$RANDOM
          yes "$payload" | head -c 100000000 >$state/device-a/web/marked
          pid=$(host_pid relay gatemanager)
          strace -f -o $state/strace -p $pid \
            -e trace=splice,read,write,readv,writev,pread64,pwrite64,recvfrom,sendto,recvmsg,sendmsg,recvmmsg,sendmmsg,sendfile \
            2>$state/log/strace &
          tracer=$!
          eventually 10 grep -q attached $state/log/strace || exit 1
          server=$(alias_of site-a server)
          fetch $server 8000/marked --output $state/received || exit 1
          cmp $state/device-a/web/marked $state/received || exit 1
          fetch $server 8000/marked --upload-file $state/device-a/web/marked --output /dev/null || exit 1
          kill -TERM $tracer
          wait $tracer
          awk '
            match($0, /= [0-9]+$/) {
              bytes = substr($0, RSTART + 2) + 0
              sub(/^[0-9]+ +(<\.\.\. )?/, "")
              match($0, /^[a-z0-9_]+/)
              total[substr($0, 1, RLENGTH) == "splice" ? "splice" : "other"] += bytes
            }
            END { printf "%d %d\n", total["splice"], total["other"] }' $state/strace
          $python $root/Tests/Scenarios/programs/scan_memory.py $pid "$payload" || exit 1
          # What the scan would find if there were something: the LinkManager has just had it in clear.
          $python $root/Tests/Scenarios/programs/scan_memory.py $(host_pid pc linkmanager) "$payload" && exit 1
          exit 0
          """#)
        let lines = output.text.split(separator: "\n").map { $0.split(separator: " ").compactMap { Int($0) } }
        try #require(lines.count == 3 && lines.allSatisfy { $0.count == 2 }, "\(output)")
        let (spliced, copied) = (lines[0][0], lines[0][1])
        // Each byte is spliced twice: into a pipe, and out of it.
        #expect(spliced > 2 * 200_000_000, "\(output)")
        #expect(copied < 1_000_000, "\(output)")
        #expect(lines[1][0] > 1_000_000 && lines[1][1] == 0, "\(output)")
        #expect(lines[2][1] > 0, "\(output)")
      }
    }

    @Test(
      "the session's keys are not in the relay's memory",
      .enabled(
        if: Place.hasBinaries("SessionProbe"), "SessionProbe isn't built in release mode: `make test` does that first"))
    func holdsNoKey() throws {
      try World.run { world in
        let output = try world.require(
          #"""
          mkfifo $state/probe-input
          at pc $bin/SessionProbe $state/linkmanager site-a server <$state/probe-input >$state/probe 2>$state/log/probe &
          exec 9>$state/probe-input
          eventually 20 test -s $state/probe || { cat $state/log/probe; exit 1; }
          read -r send receive <$state/probe
          for key in $send $receive; do
            $python $root/Tests/Scenarios/programs/scan_memory.py $(host_pid relay gatemanager) hex:$key || exit 1
            # What the scan finds where the key has to be.
            $python $root/Tests/Scenarios/programs/scan_memory.py $(host_pid pc SessionProbe) hex:$key && exit 1
          done
          exec 9>&-
          wait
          """#)
        let lines = output.text.split(separator: "\n").map { $0.split(separator: " ").compactMap { Int($0) } }
        try #require(lines.count == 4 && lines.allSatisfy { $0.count == 2 }, "\(output)")
        for (relay, end) in [(lines[0], lines[1]), (lines[2], lines[3])] {
          #expect(relay[0] > 1_000_000 && relay[1] == 0, "\(output)")
          #expect(end[1] > 0, "\(output)")
        }
      }
    }
  }
}
