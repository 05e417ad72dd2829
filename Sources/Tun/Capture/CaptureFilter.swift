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
