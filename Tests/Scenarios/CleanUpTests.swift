import Foundation
import Testing

extension WholeSystem {
  /// What hosts leave behind: nothing.
  @Suite struct CleanUp {
    @Test(
      "ended LinkManager and SiteManager: no device, no route, no process, no socket file", arguments: ["TERM", "INT"])
    func hostsEnd(signal: String) throws {
      try World.run { world in
        try world.require("ip -n $prefix-pc link show relay0")
        // With a connection open, which must not keep it.
        let output = try world.require(
          """
          at pc $python $root/Tests/Scenarios/programs/read_to_end.py $(alias_of site-a server) 8000 /none 10 \
            >/dev/null 2>&1 &
          gone() { [ -z "$(host_pid $1 $2)" ]; }
          kill -\(signal) $(host_pid pc linkmanager) $(host_pid site-a sitemanager)
          eventually 10 gone pc linkmanager && eventually 10 gone site-a sitemanager || exit 1
          wait
          ip -n $prefix-pc -o link | cut -d : -f 2 | cut -d @ -f 1 | tr -d ' \\n'
          echo
          ip -n $prefix-pc route | grep -v 203.0.113.0/24
          ip -n $prefix-pc -6 route | grep -v '^fe80'
          ip netns pids $prefix-pc
          find $state -type s ! -path '*/gatemanager/*'
          exit 0
          """)
        #expect(output.text == "lowan\n", "\(output)")
      }
    }

    @Test("a world leaves no namespace and no file")
    func worldsEnd() throws {
      var directory = ""
      try World.run(hosts: false) { directory = $0.directory }
      #expect(!FileManager.default.fileExists(atPath: directory))
      #expect(try !Shell.run(["ip", "netns", "list"]).text.contains("rvt\(getpid())-"))
    }
  }
}
