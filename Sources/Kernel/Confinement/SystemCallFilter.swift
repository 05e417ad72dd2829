import CLinux
import Glibc

/// Which system calls a process may go on making (seccomp(2)), as data.
///
/// A call that isn't listed fails with ENOSYS, as in a kernel that doesn't have it: the C library then falls back to an
/// older call, and one that a later version of it tries doesn't end a service in the field. A listed call with other
/// arguments than its rule's fails with EPERM. What no service has a reason to try, and an intruder does first, ends
/// the process at once (`fatal`): its next try would be a better one.
public struct SystemCallFilter: Sendable {
  /// Compares the lower half of an argument, which is all that the kernel looks at in an `int`.
  public struct Argument: Hashable, Sendable {
    /// 0 to 5.
    public let index: Int
    /// The bits that count.
    public let mask: UInt32
    public let value: UInt32

    public init(_ index: Int, mask: UInt32 = .max, equals value: UInt32) {
      precondition((0...5).contains(index))
      self.index = index
      self.mask = mask
      self.value = value & mask
    }
  }

  /// A call that is permitted if one of the alternatives holds in full.
  public struct Rule: Hashable, Sendable {
    public let call: SystemCall
    /// Empty for a call that may have any arguments.
    public let alternatives: [[Argument]]

    public init(_ call: SystemCall, _ alternatives: [[Argument]] = []) {
      self.call = call
      self.alternatives = alternatives
    }
  }

  public private(set) var rules: [Rule]
  public private(set) var fatal: Set<SystemCall>

  /// - Parameters:
  ///   - rules: one for each call; of several, the first counts.
  ///   - fatal: calls that end the process. Those with a rule aren't among them.
  public init(_ rules: [Rule], fatal: Set<SystemCall> = []) {
    self.rules = rules
    self.fatal = fatal.subtracting(rules.map(\.call))
  }

  /// Puts the filter in force for all threads of the process, for good. The process must have given up new privileges
  /// (`Privileges.renounce`), or have CAP_SYS_ADMIN.
  public func install() throws(SystemError) {
    let steps = program
    let result = unsafe steps.withUnsafeBufferPointer { steps in
      unsafe clinux_filter_install(steps.baseAddress, UInt16(steps.count))
    }
    if result < 0 { throw .last("seccomp") }
    // A thread with a filter of its own: nothing has been changed.
    if result > 0 { throw SystemError(call: "seccomp", subject: "thread \(result)", code: EBUSY) }
  }

  // MARK: The program

  /// Offsets in the kernel's `struct seccomp_data`.
  private enum Offset {
    static let call: UInt32 = 0, architecture: UInt32 = 4

    static func argument(_ index: Int) -> UInt32 { 16 + 8 * UInt32(index) }
  }

  private enum Verdict {
    static let allow: UInt32 = 0x7FFF_0000
    static let kill: UInt32 = 0x8000_0000

    static func error(_ code: Int32) -> UInt32 { 0x0005_0000 | UInt32(code) }
  }

  typealias Step = clinux_filter_step

  /// As the kernel takes it: classic BPF.
  var program: [Step] {
    var steps = [
      Self.load(Offset.architecture),
      // Calls of another architecture (int 0x80) have other numbers.
      Step(code: 0x15, if_true: 1, if_false: 0, value: clinux_audit_architecture()), Self.end(Verdict.kill),
      Self.load(Offset.call),
    ]
    for rule in rules {
      guard let number = rule.call.number else { continue }
      let body = rule.alternatives.isEmpty ? [Self.end(Verdict.allow)] : Self.body(rule.alternatives)
      steps.append(Self.unless(number, skip: body.count))
      steps += body
    }
    for call in fatal.sorted(by: { $0.rawValue < $1.rawValue }) {
      guard let number = call.number else { continue }
      steps.append(Self.unless(number, skip: 1))
      steps.append(Self.end(Verdict.kill))
    }
    steps.append(Self.end(Verdict.error(ENOSYS)))
    return steps
  }

  /// Ends in a verdict whatever the arguments are.
  private static func body(_ alternatives: [[Argument]]) -> [Step] {
    var steps: [Step] = []
    for alternative in alternatives {
      var rest = 3 * alternative.count + 1
      for argument in alternative {
        steps.append(load(Offset.argument(argument.index)))
        steps.append(Step(code: 0x54, if_true: 0, if_false: 0, value: argument.mask))
        rest -= 3
        steps.append(unless(argument.value, skip: rest))
      }
      steps.append(end(Verdict.allow))
    }
    return steps + [end(Verdict.error(EPERM))]
  }

  /// BPF_LD | BPF_W | BPF_ABS. The lower half of an argument is the first one on both architectures.
  private static func load(_ offset: UInt32) -> Step { Step(code: 0x20, if_true: 0, if_false: 0, value: offset) }

  /// BPF_JMP | BPF_JEQ | BPF_K: passes over steps unless what was loaded is `value`.
  private static func unless(_ value: UInt32, skip: Int) -> Step {
    Step(code: 0x15, if_true: 0, if_false: UInt8(skip), value: value)
  }

  /// BPF_RET | BPF_K.
  private static func end(_ verdict: UInt32) -> Step { Step(code: 0x06, if_true: 0, if_false: 0, value: verdict) }
}
