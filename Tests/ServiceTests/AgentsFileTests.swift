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
    #expect(agents[0].device == IPPrefix("192.168.10.10") && agents[0].ping && agents[0].tcp.count == 3)
    #expect(agents[0].permits(.tcp, port: 8005) && !agents[0].permits(.tcp, port: 8011))
    #expect(agents[1].udp == [PortRange(554)] && !agents[1].isSubnet && agents[1].line == 7)
    #expect(agents[2].description.target == .subnet(.v4, prefixLength: 24))
    #expect(agents[2].description.address == nil && agents[2].about == "the whole hall")
    #expect(try AgentsFile.parse("agents: []", file: "a").isEmpty)
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
  ]) func refusesForms(text: String, reason: String) {
    let seen = problems(text)
    #expect(seen.count == 1 && seen.first?.contains(reason) == true, "\(seen)")
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

  @Test func aStateFileIsBounded() throws {
    let path = "/tmp/state-\(getpid())"
    let state = StateDirectory(path)
    try state.create()
    defer {
      state.remove("big.json")
      unsafe rmdir(path)
    }
    try state.save(["text": String(repeating: "x", count: 1000)], as: "big.json")
    #expect(try state.load([String: String].self, from: "big.json")?["text"]?.count == 1000)
    try state.save(["text": String(repeating: "x", count: 1 << 20)], as: "big.json")
    #expect(throws: CommandFailure.self) { try state.load([String: String].self, from: "big.json") }
  }

  @Test func namesTheFileThatIsMissing() {
    #expect(throws: ConfigurationError.self) { try AgentsFile.load("/nonexistent/agents.yaml") }
  }
}
