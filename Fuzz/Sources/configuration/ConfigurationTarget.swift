import Control
import Crypto
import FuzzDriver
import Primitives
import Proxy

@testable import Service

/// Files that people and hosts write: agents in YAML, state in JSON. Nothing that is refused by an address's kind gets
/// through, problems are told by line, and what was read is written and read again the same.
@main enum ConfigurationTarget: FuzzTarget {
  static func run(_ bytes: UnsafeBufferPointer<UInt8>) {
    var script = Script(bytes)
    let kind = script.choice(4)
    let rest = [UInt8](script.rest())
    switch kind {
    case 0, 1: readAgents(String(decoding: rest, as: UTF8.self))
    case 2: readOutline(rest)
    default: readState(rest)
    }
  }

  // MARK: Agents

  private static func readAgents(_ text: String) {
    do throws(ConfigurationError) {
      let agents = try AgentsFile.parse(text, file: "agents.yaml")
      check(agents.count <= ControlProtocol.agentLimit, "agents within their bound")
      check(Set(agents.map { $0.name.lowercased() }).count == agents.count, "each has a name of its own")
      for agent in agents { judge(agent, text) }
    } catch {
      check(!error.problems.isEmpty, "a refusal says why")
      let lines =
        text.utf8.count { $0 == 10 || $0 == 13 }
        + text.unicodeScalars.count { [0x85, 0x2028, 0x2029].contains($0.value) } + 2
      for problem in error.problems {
        check((0...lines).contains(problem.line), "line \(problem.line) of \(lines)")
        check(
          !problem.description.unicodeScalars.contains { $0.value < 0x20 || $0.value == 0x7F }, "fit for a terminal")
      }
    }
  }

  private static func judge(_ agent: AgentConfiguration, _ text: String) {
    check(AgentDescription.isValidName(agent.name), "a name")
    if case .addresses(let device) = agent.place {
      let address = device.address
      check(!address.isLoopback && !address.isMulticast && !address.isBroadcast, "a device's address")
      check(!address.isLinkLocal && !address.isUnspecified && !address.isV4Mapped, "a device's address")
      check(device.length > 0, "a network of some size")
      check(!agent.tcp.isEmpty || !agent.udp.isEmpty || agent.ping, "it permits something")
    }
    for ports in [agent.tcp, agent.udp, agent.ftp] {
      check(ports.count <= ControlProtocol.portRangeLimit, "ranges within their bound")
    }
    for range in agent.ftp {
      check((range.lower...range.upper).allSatisfy { agent.permits(.tcp, port: $0) }, "FTP's ports may be reached")
    }
    // What others are told can be told.
    let message = ControlEnvelope(.agents([agent.description]))
    check((try? message.encoded()) != nil, "an agent can be announced")
    check(agent.line >= 1, "it stands somewhere")
  }

  // MARK: State

  private static func readOutline(_ bytes: [UInt8]) {
    let isGood = (try? JSONOutline(bytes)) != nil
    // Whatever a decoder takes, the outline has to take as well: or a good file would be refused.
    struct Anything: Decodable {
      init(from decoder: any Decoder) throws {}
    }
    if let outline = try? JSONOutline(bytes) {
      check(
        outline.line(of: ["none", "at all"]) == 0 || outline.line(of: ["none"]) > 0,
        "a field that isn't there has no line")
    }
    _ = isGood
    _ = try? StateFile.decode(Anything.self, from: bytes)
  }

  private struct State: Codable, Equatable {
    var name: String
    var gate: GateBinding?
    var numbers: [Int]?
    var flags: [String: Bool]?
  }

  private static func readState(_ bytes: [UInt8]) {
    let lines = bytes.count { $0 == 10 } + 1
    do throws(StateFileError) {
      let state = try StateFile.decode(State.self, from: bytes) { $0.gate?.problem(at: "gate") }
      guard let written = StateFile.encode(state) else { return check(false, "what was read can be written") }
      check((try? StateFile.decode(State.self, from: written)) == state, "written and read is the same")
      if let gate = state.gate {
        check(
          HostPort(gate.address) != nil && (try? Certificate(pem: gate.certificate)) != nil, "a binding that is good")
        check((try? gate.server()) != nil, "a server to dial")
      }
    } catch {
      check(!error.reason.isEmpty && (0...lines).contains(error.line), "line \(error.line) of \(lines)")
      check(!error.description.unicodeScalars.contains { $0.value < 0x20 || $0.value == 0x7F }, "fit for a terminal")
    }
  }

  static var seeds: [[UInt8]] {
    let agents = """
      agents:
        - name: plc
          device: 192.168.10.20      # an address
          tcp: [102, 8000-8010]
          udp: [161]
          ftp: true
          ping: true
          about: press 4, hall 2
        - {name: net, device: 192.168.10.0/24, tcp: all}
        - name: six
          device: "fd00:10::10"
          ftp: [21, 2121]
      """
    let odd = [
      "agents: []", "agents:\n- &a {name: x, device: 10.0.0.1, ping: yes}\n- *a\n", "agents: {a: b}", "- 1", "",
      "agents:\n\t- x",
      "agents:\n- name: l\n  device: 127.0.0.1\n  tcp: [0, 70000, 9-1, 5-7, 6]\n  nmae: x\n", "a: &x [*x]",
      "agents: [[]]",
      "agents:\n- name: '-'\n  device: 10.0.0.9/24\n- name: A\n  device: ::ffff:1.2.3.4\n- name: a\n  device: 224.0.0.1\n",
      "agents:\n- name: b\n  device: 255.255.255.255\n  ping: maybe\n  about: [x]\n  tcp: {a: b}\n",
      "agents:\n- name: c\n  device: fe80::1\n- name: d\n  device: 0.0.0.0/0\n- name: e\n  device: 10.0.0.0/7\n",
      "%YAML 1.1\n---\nagents: |\n  text\n...\n---\nx", "agents: \"a\\n\\x41\"", "? [a]\n: b", "agents: !!str x",
    ]
    let states = [
      #"{"version": 1, "name": "a", "numbers": [1, -2], "flags": {"x": true}, "more": null}"#,
      #"{"name": "a\"\\\u0041"}"#,
      #"{"version": 2}"#, #"{"name": 1}"#, #"{"name": "a", "numbers": [1.5]}"#, "[]", "{\n\"name\":\n",
      "[[[[[[1e400]]]]]]",
      #"{"name":"n","gate":{"address":"gm:443","key":"sha256:0000","certificate":"","caCertificate":"","proxy":"http://p:1"}}"#,
    ]
    return ([agents] + odd).map { [0] + Array($0.utf8) }
      + states.flatMap { [[2] + Array($0.utf8), [3] + Array($0.utf8)] }
  }
}
