/// Layer 3 (packets) or layer 2 (Ethernet frames).
public enum TunKind: Hashable, Sendable {
  case tun, tap
}

/// What the kernel may hand over unfinished (linux/if_tun.h, TUN_F_*).
public struct TunFeatures: OptionSet, Hashable, Sendable, CustomStringConvertible {
  public let rawValue: UInt32

  public init(rawValue: UInt32) {
    self.rawValue = rawValue
  }

  /// Packets without a computed transport checksum.
  public static let checksum = TunFeatures(rawValue: 0x01)
  public static let tcp4Segmentation = TunFeatures(rawValue: 0x02)
  public static let tcp6Segmentation = TunFeatures(rawValue: 0x04)
  /// TCP super-segments with ECN bits.
  public static let segmentationECN = TunFeatures(rawValue: 0x08)
  /// UDP super-segments over IPv4; Linux 6.2 or later, always with `udp6Segmentation`.
  public static let udp4Segmentation = TunFeatures(rawValue: 0x20)
  public static let udp6Segmentation = TunFeatures(rawValue: 0x40)

  /// What every kernel since 2.6.27 has.
  public static let basic: TunFeatures = [.checksum, .tcp4Segmentation, .tcp6Segmentation, .segmentationECN]
  public static let all: TunFeatures = [.basic, .udp4Segmentation, .udp6Segmentation]

  public var description: String {
    let names: [(TunFeatures, String)] = [
      (.checksum, "csum"), (.tcp4Segmentation, "tso4"), (.tcp6Segmentation, "tso6"), (.segmentationECN, "tso-ecn"),
      (.udp4Segmentation, "uso4"), (.udp6Segmentation, "uso6"),
    ]
    let present = names.filter { contains($0.0) }.map(\.1)
    return present.isEmpty ? "none" : present.joined(separator: " ")
  }
}

/// How a device is to be opened.
public struct TunConfiguration: Hashable, Sendable {
  public var kind: TunKind
  /// A name of 1 to 15 bytes; `%d` in it becomes the first free number.
  public var name: String
  /// Super-segments and unfinished checksums wanted; what the kernel lacks is left out.
  public var offloads: TunFeatures
  /// Whether further descriptors may be attached, one queue each (IFF_MULTI_QUEUE).
  public var isMultiQueue: Bool
  /// The clone device.
  public var path: String

  public init(
    kind: TunKind = .tun, name: String = "relay%d", offloads: TunFeatures = .all, isMultiQueue: Bool = false,
    path: String = "/dev/net/tun"
  ) {
    self.kind = kind
    self.name = name
    self.offloads = offloads
    self.isMultiQueue = isMultiQueue
    self.path = path
  }
}
