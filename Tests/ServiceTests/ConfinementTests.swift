import Testing

@testable import Kernel
@testable import Service

struct ConfinementTests {
  @Test func everyCallHasANumberOrIsOfAnotherArchitecture() {
    #if arch(x86_64)
      for call in SystemCall.allCases { #expect(call.number != nil, "\(call.rawValue)") }
      let numbers = Set(SystemCall.allCases.compactMap(\.number))
      #expect(numbers.count == SystemCall.allCases.count)
    #endif
    for control in DeviceControl.allCases { #expect(control.number != 0, "\(control.rawValue)") }
  }

  @Test func aFilterIsWithinWhatTheKernelTakes() {
    let filter = SystemCallFilter.service(
      families: [.internet, .unix, .routes, .diagnosis, .packets], controls: DeviceControl.allCases, splices: true)
    #expect(filter.program.count < 4096)
    #expect(Set(filter.rules.map(\.call)).count == filter.rules.count)
    #expect(filter.fatal.isDisjoint(with: filter.rules.map(\.call)))
    #expect(filter.fatal.contains(.ptrace) && filter.fatal.contains(.execve))
  }

  /// The filter's program as the kernel would run it, against its rules read one by one.
  @Test func theProgramSaysWhatTheRulesSay() {
    let rules: [SystemCallFilter.Rule] = [
      .init(.read), .init(.socket, [[.init(0, equals: 2)], [.init(0, equals: 16), .init(2, equals: 4)]]),
      .init(.clone, [[.init(0, mask: 0x10000, equals: 0x10000)]]),
    ]
    let filter = SystemCallFilter(rules, fatal: [.ptrace, .read])
    let allowed: UInt32 = 0x7FFF_0000, killed: UInt32 = 0x8000_0000
    let noSuchCall: UInt32 = 0x5_0026, notPermitted: UInt32 = 0x5_0001
    for (call, arguments, verdict) in [
      (SystemCall.read, [9, 9, 9], allowed), (.ptrace, [0, 0, 0], killed), (.write, [0, 0, 0], noSuchCall),
      (.socket, [2, 1, 0], allowed), (.socket, [16, 3, 4], allowed), (.socket, [16, 3, 0], notPermitted),
      (.socket, [10, 1, 0], notPermitted), (.clone, [0x1_0F00, 0, 0], allowed), (.clone, [17, 0, 0], notPermitted),
    ] as [(SystemCall, [UInt32], UInt32)] {
      #expect(run(filter.program, call, arguments) == verdict, "\(call) \(arguments)")
    }
    #expect(run(filter.program, .read, [0, 0, 0], architecture: 3) == killed)
  }

  /// Classic BPF, as much of it as filters use.
  private func run(
    _ steps: [SystemCallFilter.Step], _ call: SystemCall, _ arguments: [UInt32], architecture: UInt32? = nil
  ) -> UInt32? {
    var accumulator: UInt32 = 0
    var position = 0
    let native = steps[1].value
    while position < steps.count {
      let step = steps[position]
      position += 1
      switch step.code {
      case 0x20:
        switch step.value {
        case 0: accumulator = call.number ?? .max
        case 4: accumulator = architecture ?? native
        case let offset: accumulator = arguments[Int(offset - 16) / 8]
        }
      case 0x54: accumulator &= step.value
      case 0x15: position += Int(accumulator == step.value ? step.if_true : step.if_false)
      case 0x06: return step.value
      default: return nil
      }
    }
    return nil
  }

  @Test func readsWhatTheKernelSays() {
    let text =
      "Name:\tx\nCapEff:\t0000000000003000\nNoNewPrivs:\t1\nSeccomp:\t2\nSeccomp_filters:\t1\nother\n"
    var report = ConfinementReport(status: text, .init(landlock: 7, missing: []))
    #expect(report.capabilities == ["net_admin", "net_raw"] && report.noNewPrivileges && report.systemCalls)
    #expect(report.text == "confined: net_admin, net_raw; system calls filtered; files by Landlock 7")
    report = ConfinementReport(status: "CapEff:\t0000000000000000\nNoNewPrivs:\t1\n", .init(missing: ["seccomp"]))
    #expect(
      report.text
        == "confined: no capabilities; system calls not filtered; files not restricted; missing: seccomp")
    #expect(ConfinementReport(status: "").text == "not confined")
  }

  @Test func findsWhereAFileIs() {
    #expect(ConfinementProfile.directories(of: "/nowhere/agents.yaml") == ["/nowhere"])
    #expect(ConfinementProfile.directories(of: "agents-nowhere.yaml") == ["."])
    #expect(ConfinementProfile.directories(of: "/agents-nowhere.yaml") == ["/"])
  }
}
