internal import CPcap
import Glibc
import Primitives
import Synchronization

/// Why a capture filter isn't one: what libpcap says of it.
public struct CaptureFilterError: Error, Hashable, Sendable, CustomStringConvertible {
  public let expression: String
  public let reason: String

  public var description: String { "the filter \"\(expression)\" can't be used: \(reason)" }
}

/// A filter in the language of pcap-filter(7), compiled by libpcap and run by its interpreter.
///
/// A filter judges what a capture keeps of a packet: what lies behind the snap length isn't there for it.
/// Sendable because its program is never changed after it was compiled.
@safe public struct CaptureFilter: ~Copyable, @unchecked Sendable {
  /// Characters of an expression at most.
  public static let sizeLimit = 4096

  public let expression: String
  /// A `bpf_program`; `nil` for a filter that lets everything through.
  private let program: UnsafeMutableRawPointer?

  /// libpcap keeps what its parser and optimizer are at in variables of the process.
  private static let compiler = Mutex(())

  /// - Parameters:
  ///   - expression: empty for all packets.
  ///   - snapLength: bytes that a packet has at most.
  public init(_ expression: String, linkType: LinkType, snapLength: Int) throws(CaptureFilterError) {
    self.expression = expression
    guard !expression.utf8.allSatisfy({ $0 == 0x20 || $0 == 0x09 }) else {
      unsafe program = nil
      return
    }
    guard expression.utf8.count <= Self.sizeLimit, !expression.utf8.contains(0) else {
      throw CaptureFilterError(expression: String(expression.prefix(64)), reason: "it is too long, or holds a NUL")
    }
    let kind = linkType == .ethernet ? DLT_EN10MB : DLT_RAW
    let made = UnsafeMutablePointer<bpf_program>.allocate(capacity: 1)
    unsafe made.initialize(to: bpf_program())
    let address = UInt(bitPattern: made)
    let problem = Self.compiler.withLock { _ in
      unsafe Self.compile(expression, kind, snapLength, into: UnsafeMutablePointer(bitPattern: address))
    }
    if let problem {
      unsafe made.deallocate()
      throw CaptureFilterError(expression: expression, reason: problem)
    }
    unsafe program = UnsafeMutableRawPointer(made)
  }

  /// A filter that somebody else has compiled: no text of theirs is parsed, and no name in it is looked up.
  ///
  /// - Parameters:
  ///   - code: as from `code`; empty for all packets. Whatever it is, it reads nothing but the packet, and ends.
  ///   - expression: what it was compiled from; for people.
  public init(code: [UInt8], expression: String = "") throws(CaptureFilterError) {
    self.expression = expression
    guard !code.isEmpty else {
      unsafe program = nil
      return
    }
    guard code.count % Self.instructionSize == 0, code.count / Self.instructionSize <= Self.instructionLimit else {
      throw CaptureFilterError(expression: expression, reason: "its code is too long, or cut")
    }
    let code = Self.withClearedMemory(code)
    let count = code.count / Self.instructionSize
    guard count <= Self.instructionLimit,
      let memory = unsafe calloc(count, MemoryLayout<bpf_insn>.stride)
    else { throw CaptureFilterError(expression: expression, reason: "its code is too long, or cut") }
    let instructions = unsafe memory.bindMemory(to: bpf_insn.self, capacity: count)
    var isUnknown = false
    for index in 0..<count {
      let start = index * Self.instructionSize
      let number = { (range: Range<Int>) in range.reduce(UInt32(0)) { $0 << 8 | UInt32(code[start + $1]) } }
      let operation = UInt16(number(0..<2))
      unsafe instructions[index] = bpf_insn(
        code: operation, jt: code[start + 2], jf: code[start + 3], k: number(4..<8))
      // libpcap takes a jump backwards for good (`ip6 protochain`): it may never end.
      if operation == Self.jump, number(4..<8) >= UInt32(count) { isUnknown = true }
      // And it ends the process at operations that it doesn't know, some of which it takes for valid.
      if !Self.operations.contains(operation) { isUnknown = true }
    }
    guard !isUnknown, unsafe bpf_validate(instructions, CInt(count)) != 0 else {
      unsafe free(memory)
      throw CaptureFilterError(expression: expression, reason: "its code isn't valid, or may not end")
    }
    let made = UnsafeMutablePointer<bpf_program>.allocate(capacity: 1)
    unsafe made.initialize(to: bpf_program(bf_len: UInt32(count), bf_insns: instructions))
    unsafe program = UnsafeMutableRawPointer(made)
  }

  /// Bytes of an instruction in `code`: operation (2), jumps (1 each), operand (4), in network order.
  private static let instructionSize = 8
  /// Instructions of a filter: as many as a kernel takes (BPF_MAXINSNS).
  static let instructionLimit = 4096
  /// All that libpcap's interpreter knows: loads, stores, jumps, arithmetic, returns (bpf(4)).
  private static let operations: Set<UInt16> = [
    0x00, 0x01, 0x02, 0x03, 0x20, 0x28, 0x30, 0x40, 0x48, 0x50, 0x60, 0x61, 0x80, 0x81, 0xB1,
    0x05, 0x15, 0x1D, 0x25, 0x2D, 0x35, 0x3D, 0x45, 0x4D,
    0x04, 0x0C, 0x14, 0x1C, 0x24, 0x2C, 0x34, 0x3C, 0x44, 0x4C, 0x54, 0x5C, 0x64, 0x6C, 0x74, 0x7C, 0x84, 0x94, 0x9C,
    0xA4, 0xAC, 0x06, 0x16, 0x07, 0x87,
  ]
  /// BPF_JMP | BPF_JA
  private static let jump: UInt16 = 0x05
  /// BPF_ST
  private static let store: UInt8 = 0x02
  /// BPF_LD | BPF_MEM and BPF_LDX | BPF_MEM
  private static let memoryLoads: [UInt8] = [0x60, 0x61]

  /// Code that reads the interpreter's scratch memory, with stores of zero in front: not every libpcap clears it.
  ///
  /// The accumulator is 0 at the start, and jumps are relative.
  private static func withClearedMemory(_ code: [UInt8]) -> [UInt8] {
    let reads = stride(from: 0, to: code.count, by: instructionSize).contains {
      code[$0] == 0 && memoryLoads.contains(code[$0 + 1])
    }
    guard reads else { return code }
    let stores = (0..<UInt8(BPF_MEMWORDS)).flatMap { word -> [UInt8] in [0, store, 0, 0, 0, 0, 0, word] }
    return stores + code
  }

  /// The compiled filter, for another program that runs it.
  public borrowing func code() -> [UInt8] {
    guard let program = unsafe program?.assumingMemoryBound(to: bpf_program.self) else { return [] }
    let found = unsafe program.pointee
    var bytes: [UInt8] = []
    for index in unsafe 0..<Int(found.bf_len) {
      let instruction = unsafe found.bf_insns[index]
      bytes += [
        UInt8(truncatingIfNeeded: instruction.code >> 8), UInt8(truncatingIfNeeded: instruction.code), instruction.jt,
        instruction.jf,
      ]
      bytes += (0..<4).map { UInt8(truncatingIfNeeded: instruction.k >> UInt32(24 - 8 * $0)) }
    }
    return bytes
  }

  /// - Returns: what libpcap says if it can't be compiled.
  private static func compile(
    _ expression: String, _ kind: CInt, _ snapLength: Int, into program: UnsafeMutablePointer<bpf_program>?
  ) -> String? {
    guard let handle = unsafe pcap_open_dead(kind, CInt(clamping: snapLength)) else { return "out of memory" }
    defer { unsafe pcap_close(handle) }
    guard unsafe pcap_compile(handle, program, expression, 1, UInt32.max) == 0 else {
      return unsafe pcap_geterr(handle).map { unsafe String(cString: $0) } ?? "unknown error"
    }
    return nil
  }

  deinit {
    guard let program = unsafe program?.assumingMemoryBound(to: bpf_program.self) else { return }
    unsafe pcap_freecode(program)
    unsafe program.deallocate()
  }

  /// Whether the filter lets a packet through.
  ///
  /// - Parameter originalCount: bytes that the packet had before it was cut.
  public borrowing func matches(_ packet: Span<UInt8>, originalCount: Int) -> Bool {
    unsafe packet.withUnsafeBytes { unsafe matches($0, originalCount: originalCount) }
  }

  borrowing func matches(_ packet: UnsafeRawBufferPointer, originalCount: Int) -> Bool {
    guard let program = unsafe program?.assumingMemoryBound(to: bpf_program.self) else { return true }
    guard let bytes = packet.baseAddress else { return false }
    var header = pcap_pkthdr()
    header.caplen = UInt32(truncatingIfNeeded: packet.count)
    header.len = UInt32(truncatingIfNeeded: originalCount)
    return unsafe pcap_offline_filter(program, &header, bytes.assumingMemoryBound(to: UInt8.self)) != 0
  }
}
