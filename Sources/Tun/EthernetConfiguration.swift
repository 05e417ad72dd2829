import Packet

/// How raw Ethernet on an interface is to be opened.
public struct EthernetConfiguration: Hashable, Sendable {
  /// The interface's name, in the network namespace of the calling thread.
  public var interface: String
  /// What the kernel lets through to this socket.
  public var filter: EthernetTypeFilter
  /// Groups whose frames the interface is to receive; broadcasts come in any case.
  public var groups: [MACAddress]
  /// Frames to any group are to come.
  public var receivesAllGroups: Bool
  /// Bytes for frames that weren't read yet, with the kernel's own overhead: a third of a second's of 50,000 small ones a
  /// second. Without CAP_NET_ADMIN the kernel gives what net.core.rmem_max allows.
  public var receiveBuffer: Int

  public init(
    interface: String, filter: EthernetTypeFilter = .all, groups: [MACAddress] = [], receivesAllGroups: Bool = false,
    receiveBuffer: Int = 16 << 20
  ) {
    self.interface = interface
    self.filter = filter
    self.groups = groups
    self.receivesAllGroups = receivesAllGroups
    self.receiveBuffer = receiveBuffer
  }
}

/// Which EtherTypes come in, as a program for the kernel (classic BPF, socket(7): SO_ATTACH_FILTER).
///
/// The type is the one behind all VLAN tags. It only spares work: whoever relies on it looks again.
public struct EthernetTypeFilter: Hashable, Sendable {
  /// `nil` for all.
  public var types: [EtherType]?
  /// Whether frames with a length instead of a type come in (IEEE 802.3 with LLC).
  public var allowsLength: Bool

  /// More would not be reached by the program's jumps.
  public static let limit = 64

  public static let all = EthernetTypeFilter(types: nil, allowsLength: true)

  /// - Parameter types: beyond `limit` of them, all types come in.
  public init(types: [EtherType]?, allowsLength: Bool = false) {
    self.types = types.flatMap { $0.count > Self.limit ? nil : $0 }
    self.allowsLength = allowsLength
  }

  /// An instruction of struct sock_filter (linux/filter.h).
  struct Instruction: Hashable {
    var code: UInt16
    var ifTrue: UInt8 = 0
    var ifFalse: UInt8 = 0
    var operand: UInt32

    /// BPF_LD | BPF_H | BPF_ABS
    static func loadHalf(at offset: UInt32) -> Instruction { Instruction(code: 0x28, operand: offset) }
    /// BPF_JMP | BPF_JEQ | BPF_K
    static func ifEqual(_ value: UInt32, _ ifTrue: Int, _ ifFalse: Int) -> Instruction {
      Instruction(code: 0x15, ifTrue: UInt8(ifTrue), ifFalse: UInt8(ifFalse), operand: value)
    }
    /// BPF_JMP | BPF_JGT | BPF_K
    static func ifGreater(_ value: UInt32, _ ifTrue: Int, _ ifFalse: Int) -> Instruction {
      Instruction(code: 0x25, ifTrue: UInt8(ifTrue), ifFalse: UInt8(ifFalse), operand: value)
    }
    /// BPF_RET | BPF_K: bytes of the frame that are kept.
    static func keep(_ bytes: UInt32) -> Instruction { Instruction(code: 0x06, operand: bytes) }
  }

  var program: [Instruction] {
    guard let types else { return [.keep(.max)] }
    // The kernel takes the outermost tag out before the filter sees the frame; two more may follow.
    var program: [Instruction] = []
    for depth in 0..<2 {
      program.append(.loadHalf(at: UInt32(12 + 4 * depth)))
      program.append(.ifEqual(UInt32(EtherType.vlan.rawValue), 1, 0))
      // Not a tag: over the levels that follow, of three instructions each, and the last load.
      program.append(.ifEqual(UInt32(EtherType.serviceVLAN.rawValue), 0, 3 * (1 - depth) + 1))
    }
    program.append(.loadHalf(at: 20))
    // What fits jumps over the tests that are left and the refusal.
    if allowsLength { program.append(.ifGreater(1500, 0, types.count + 1)) }
    for (index, type) in types.enumerated() {
      program.append(.ifEqual(UInt32(type.rawValue), types.count - index, 0))
    }
    program.append(.keep(0))
    program.append(.keep(.max))
    return program
  }
}
