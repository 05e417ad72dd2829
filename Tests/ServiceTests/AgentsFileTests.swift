import Control
import Crypto
import Glibc
import Primitives
import Testing

@testable import Service

struct AgentsFileTests {
  private func problems(_ text: String) -> [String] {
    do throws(ConfigurationError) {
      _ = try AgentsFile.parse(text, file: "a.yaml")
      return []
    } catch {
      return error.problems.map(\.description)
    }
  }

  @Test func readsAgents() throws {
    let agents = try AgentsFile.parse(
      """
      # Agents of this site
      agents:
        - name: web
          device: 192.168.10.10
          tcp: [80, 443, 8000-8010]
          ping: true
        - name: camera6
          device: fd00:10::10
          udp: 554
        - name: hall
          device: 192.168.10.0/24
          tcp: [all]
          about: the whole hall
      """, file: "a.yaml")
    try #require(agents.count == 3)
    #expect(agents[0].place == .addresses(IPPrefix("192.168.10.10")!) && agents[0].ping && agents[0].tcp.count == 3)
    #expect(agents[0].permits(.tcp, port: 8005) && !agents[0].permits(.tcp, port: 8011))
    #expect(agents[1].udp == [PortRange(554)] && agents[1].line == 7)
    #expect(agents[2].description.target == .subnet(.v4, prefixLength: 24))
    #expect(agents[2].description.address == nil && agents[2].about == "the whole hall")
    #expect(try AgentsFile.parse("agents: []", file: "a").isEmpty)
  }

  @Test func readsAgentsOfInterfaces() throws {
    let agents = try AgentsFile.parse(
      """
      agents:
        - name: cell
          interface: eth1
          discovery: [lldp, dcp, lldp]
          assignment: yes
          capture: true
        - name: all
          interface: br-0.7
          discovery: all
        - name: plc
          device: 192.168.10.10
          tcp: 102
          capture: true
      """, file: "a.yaml")
    try #require(agents.count == 3)
    #expect(agents[0].place == .interface("eth1", InterfaceAccess(discovery: ["lldp", "dcp"], assignment: true)))
    #expect(agents[0].capture && agents[0].description.capture && !agents[1].capture && agents[2].capture)
    #expect(agents[1].description.target == .interface(InterfaceAccess(discovery: InterfaceAccess.methods)))
  }

  @Test func saysWhatIsWrongWithInterfaces() {
    let seen = problems(
      """
      agents:
        - name: a
          interface: eth1/2
          discovery: [lldpp]
        - name: b
          interface: eth1
        - name: c
          interface: eth1
          device: 192.168.10.10
          tcp: 80
          discovery: arp
        - name: d
          device: 192.168.10.10
          tcp: 80
          discovery: [arp]
        - name: e
          interface: a-name-of-sixteen
          discovery: {}
      """)
    #expect(seen.count == 8)
    #expect(seen.contains { $0.hasPrefix("a.yaml:3:16: agents[0].interface: `eth1/2` is no interface") })
    #expect(
      seen.contains {
        $0.hasPrefix("a.yaml:4:17: agents[0].discovery[0]: `lldpp`") && $0.hasSuffix("did you mean `lldp`?")
      })
    #expect(seen.contains { $0.hasPrefix("a.yaml:5:5: agents[1]: offers nothing") })
    #expect(seen.contains { $0.hasPrefix("a.yaml:9:13: agents[2].device: `device` is for agents with `device:`") })
    #expect(seen.contains { $0.hasPrefix("a.yaml:10:10: agents[2].tcp") })
    #expect(
      seen.contains { $0.hasPrefix("a.yaml:15:16: agents[3].discovery: `discovery` is for agents with `interface:`") })
    #expect(seen.contains { $0.hasPrefix("a.yaml:17:16: agents[4].interface: `a-name-of-sixteen` is no interface") })
    #expect(seen.contains { $0.hasPrefix("a.yaml:18:16: agents[4].discovery: must be a list") })
  }

  @Test func reportsAllThatIsWrong() {
    let seen = problems(
      """
      agents:
        - name: web
          devcie: 192.168.10.10
          device: 192.168.10.300
          tcp: [80, 0, 70000, 90-80, 80]
        - name: WEB
          device: 192.168.10.11
          ping: maybe
        - device: 10.0.0.1
          tcp: [1]
      """)
    #expect(seen.count == 9)
    #expect(seen.contains("a.yaml:3:5: agents[0]: unknown field `devcie`: did you mean `device`?"))
    #expect(seen.contains { $0.hasPrefix("a.yaml:4:13: agents[0].device: `192.168.10.300` is no address") })
    #expect(seen.contains { $0.hasPrefix("a.yaml:5:15: agents[0].tcp[1]: `0` is no port") })
    #expect(seen.contains { $0.hasSuffix("the smaller one comes first, 80-90") })
    #expect(seen.contains { $0.hasPrefix("a.yaml:6:11: agents[1].name: `WEB` is the name of the agent in line 2") })
    #expect(seen.contains { $0.hasPrefix("a.yaml:9:5: agents[2]: has no `name:`") })
  }

  @Test(arguments: [
    ("127.0.0.1", "loopback"), ("127.8.0.0/16", "loopback"), ("::1", "loopback"), ("169.254.1.1", "link-local"),
    ("fe80::1", "link-local"), ("224.0.0.251", "multicast"), ("ff02::1", "multicast"), ("255.255.255.255", "broadcast"),
    ("0.0.0.0/0", "every address"), ("::ffff:1.2.3.4", "IPv4"), ("10.0.0.0/4", "bits set"),
    ("192.168.1.1/24", "bits set"),
    ("0.0.0.0", "unspecified"), ("16.0.0.0/4", "too large"),
  ]) func refusesDevices(text: String, reason: String) {
    let seen = problems("agents:\n  - {name: a, device: \"\(text)\", tcp: [1]}\n")
    #expect(seen.count == 1 && seen.first?.contains(reason) == true, "\(seen)")
  }

  @Test(arguments: [
    ("", "is empty"), ("[]", "must be a mapping"), ("agent: []", "did you mean `agents`"),
    ("agents: 5", "must be a list"),
    ("agents:\n\t- name: x", "not YAML"), ("agents: []\nagents: []", "twice"),
    ("agents: [{name: a, device: 10.0.0.1}]", "permits nothing"),
    ("agents: [5]", "must be a mapping"), ("agents: {", "not YAML"),
    ("agents: []\n---\nagents: []", "a.yaml:3:1: a second document begins here"),
    ("agents: &all [*all]", "must be a mapping"), ("agents: [*nobody]", "not YAML"),
  ]) func refusesForms(text: String, reason: String) {
    let seen = problems(text)
    #expect(seen.count == 1 && seen.first?.contains(reason) == true, "\(seen)")
  }

  @Test func anAliasIsWhatItNames() throws {
    let agents = try AgentsFile.parse(
      """
      agents:
        - {name: a, device: 10.0.0.1, tcp: &ports [80, 8000-8010]}
        - {name: b, device: 10.0.0.2, tcp: *ports}
      """, file: "a.yaml")
    #expect(agents.count == 2 && agents[0].tcp.count == 2 && agents[0].tcp == agents[1].tcp)
  }

  @Test func boundsAgentsPortsTextsAndTheFile() throws {
    func file(_ agents: Int, ports: Int = 1, about: Int = 0) -> String {
      let list = (0..<ports).map { "\(2 * $0 + 1)" }.joined(separator: ", ")
      let text = about > 0 ? ", about: \(String(repeating: "x", count: about))" : ""
      return "agents:\n"
        + (0..<agents).map { "  - {name: a\($0), device: 10.0.0.1, tcp: [\(list)]\(text)}\n" }.joined()
    }
    #expect(problems(file(256)).isEmpty)
    #expect(problems(file(257)).contains { $0.hasSuffix("has 257 agents; 256 is the most of one site") })
    #expect(problems(file(1, ports: 64)).isEmpty)
    #expect(problems(file(1, ports: 65)).contains { $0.contains("has 65 entries; 64 is the most") })
    #expect(problems(file(1, about: 1024)).isEmpty)
    #expect(problems(file(1, about: 1025)).contains { $0.contains("at most 1024 bytes") })
    let path = "/tmp/agents-\(getpid()).yaml"
    defer { unsafe unlink(path) }
    for (size, isRead) in [(AgentsFile.sizeLimit, true), (AgentsFile.sizeLimit + 1, false)] {
      let text = "agents: []\n#"
      try AtomicFile.write(
        Array((text + String(repeating: "x", count: size - text.utf8.count)).utf8), to: path, permissions: 0o600,
        replacing: true)
      if isRead {
        #expect(try AgentsFile.load(path).isEmpty)
      } else {
        let error = #expect(throws: ConfigurationError.self) { try AgentsFile.load(path) }
        #expect(error?.problems.first?.message.contains("can't be read") == true)
      }
    }
  }

  private struct Note: Codable { var text: String }

  @Test func aStateFileIsBounded() throws {
    let path = "/tmp/state-\(getpid())"
    let state = StateDirectory(path)
    try state.create()
    defer {
      state.remove("big.json")
      unsafe rmdir(path)
    }
    try state.save(Note(text: String(repeating: "x", count: 1000)), as: "big.json")
    #expect(try state.load(Note.self, from: "big.json", mending: "")?.text.count == 1000)
    try state.save(Note(text: String(repeating: "x", count: 1 << 20)), as: "big.json")
    #expect(throws: CommandFailure.self) { try state.load(Note.self, from: "big.json", mending: "") }
  }

  @Test func namesTheFileThatIsMissing() {
    #expect(throws: ConfigurationError.self) { try AgentsFile.load("/nonexistent/agents.yaml") }
  }

  /// Each field, with each kind of value that it doesn't take: one problem, with file, line, field and a way out.
  @Test(arguments: [
    ("name", "[a]", "is no name"), ("name", "{a: b}", "is no name"), ("name", "", "nothing is no name"),
    ("name", "\"a b\"", "`a b` is no name"), ("name", "-x", "is no name"), ("name", "\"ä\"", "is no name"),
    ("name", String(repeating: "n", count: 65), "is no name: 1 to 64"),
    ("device", "[10.0.0.1]", "this is no address: write one as"), ("device", "", "nothing is no address"),
    ("device", "plc.local", "is no address"), ("device", "10.0.0.1:502", "is no address"),
    ("device", "10.0.0.0/33", "is no address"), ("device", "10.0.0", "is no address"), ("device", "7", "is no address"),
    ("tcp", "{a: 1}", "must be a list of ports, such as [80, 8000-8010]"), ("tcp", "", "nothing is no port"),
    ("tcp", "http", "`http` is no port: ports are 1 to 65535"), ("tcp", "65536", "is no port"),
    ("tcp", "[[80]]", "must be a port or a range"), ("tcp", "[80, 70-90]", "overlaps `80`: take one out"),
    ("tcp", "-1", "is no port"), ("tcp", "1.5", "is no port"), ("udp", "{a: 1}", "must be a list of ports"),
    ("udp", "[1-99999]", "is no port"), ("ftp", "maybe", "is no port"), ("ftp", "all", "`all` can't be meant"),
    ("ftp", "{}", "must be a list of ports"), ("ping", "3", "is neither `true` nor `false`"),
    ("ping", "[true]", "this is neither"), ("ping", "", "nothing is neither"), ("about", "[a, b]", "must be a text"),
    ("about", "{a: b}", "must be a text"), ("about", String(repeating: "x", count: 1025), "at most 1024 bytes"),
    ("pings", "true", "unknown field `pings`: did you mean `ping`?"), ("Name", "x", "did you mean `name`?"),
    ("password", "x", "unknown field `password`: there are `name`, `device`"),
  ]) func eachField(field: String, value: String, reason: String) {
    var lines = ["name: a", "device: 10.0.0.1", "tcp: 80"].filter { !$0.hasPrefix("\(field):") }
    lines.append("\(field): \(value)")
    if field == "tcp" { lines.append("ping: true") }
    let text =
      "agents:\n" + lines.enumerated().map { ($0.offset == 0 ? "  - " : "    ") + $0.element }.joined(separator: "\n")
    let number = (lines.firstIndex { $0.hasPrefix("\(field):") } ?? 0) + 2
    let seen = problems(text)
    #expect(seen.count == 1, "\(seen)")
    let isKnown = AgentsFile.fields.contains(field)
    #expect(seen.first?.hasPrefix("a.yaml:\(number):") == true, "\(seen)")
    #expect(seen.first?.contains(isKnown ? ": agents[0].\(field)" : ": agents[0]:") == true, "\(seen)")
    #expect(seen.first?.contains(reason) == true, "\(seen)")
  }

  @Test(arguments: ["name", "device"]) func whatMayNotBeMissing(field: String) {
    let lines = ["name: a", "device: 10.0.0.1"].filter { !$0.hasPrefix(field) } + ["tcp: 80"]
    let seen = problems("agents:\n  - " + lines.joined(separator: "\n    "))
    #expect(seen.count == 1 && seen.first?.hasPrefix("a.yaml:2:5: agents[0]: has no `\(field):`") == true, "\(seen)")
  }

  /// Sizes, depths and references without end: one clear problem, soon.
  @Test func whatNeverEnds() {
    let many = "agents:\n" + (0..<300).map { "  - {name: a\($0), device: 10.0.0.1, tcp: 80}\n" }.joined()
    #expect(problems(many) == ["a.yaml:2:3: agents: has 300 agents; 256 is the most of one site"])
    let ports = "[" + (0..<100_000).map { "\($0 % 65_535 + 1)" }.joined(separator: ",") + "]"
    let wide = problems("agents:\n  - name: a\n    device: 10.0.0.1\n    tcp: \(ports)\n")
    #expect(wide.count == 1 && wide[0].contains("agents[0].tcp: has 100000 entries; 64 is the most"), "\(wide.count)")
    let deep = problems("agents: " + String(repeating: "[", count: 20_000))
    #expect(deep.count == 1 && deep[0].contains("not YAML"), "\(deep)")
    var laughs = "a0: &a0 [80]\n"
    for level in 1..<30 { laughs += "a\(level): &a\(level) [*a\(level - 1), *a\(level - 1)]\n" }
    #expect(!problems(laughs + "agents:\n  - {name: a, device: 10.0.0.1, tcp: *a29}\n").isEmpty)
  }

  @Test func filesThatArentText() throws {
    let path = "/tmp/agents-\(getpid()).yaml"
    defer { unsafe unlink(path) }
    for (bytes, reason) in [
      ([0x61, 0xFF, 0xFE], "not UTF-8: save it as UTF-8"), ([UInt8](repeating: 0, count: 2000), "not YAML"),
      ([UInt8](repeating: 0x20, count: AgentsFile.sizeLimit + 1), "can't be read"),
    ] as [([UInt8], String)] {
      let file = unsafe open(path, O_CREAT | O_WRONLY | O_TRUNC, 0o600)
      _ = unsafe bytes.withUnsafeBytes { unsafe write(file, $0.baseAddress, $0.count) }
      close(file)
      let error = #expect(throws: ConfigurationError.self) { try AgentsFile.load(path) }
      #expect(error?.problems.count == 1 && error?.description.hasPrefix(path) == true)
      #expect(error?.description.contains(reason) == true, "\(error?.description ?? "")")
    }
    let directory = #expect(throws: ConfigurationError.self) { try AgentsFile.load("/tmp") }
    #expect(directory?.description.hasPrefix("/tmp: can't be read (") == true)
  }

  /// Cut anywhere, or changed anywhere: problems or agents, and never a trap.
  @Test func everyTruncationAndManyChanges() {
    let text = Array(
      """
      agents:
        - name: web
          device: fd00:10::/64
          tcp: [80, 443, 8000-8010]
          ftp: yes
          ping: true
          about: "a: \\u263A"
      """.utf8)
    for count in 0..<text.count { _ = problems(String(decoding: text.prefix(count), as: UTF8.self)) }
    var random = SeededRandom(seed: 11)
    for _ in 0..<2000 {
      var changed = text
      for _ in 0...Int(random.next() % 4) {
        changed[Int(random.next() % UInt64(changed.count))] = UInt8(0x20 + random.next() % 0x5F)
      }
      for problem in problems(String(decoding: changed, as: UTF8.self)) { #expect(problem.hasPrefix("a.yaml")) }
    }
  }
}
