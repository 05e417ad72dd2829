/// The header before each packet on a device with IFF_VNET_HDR (`struct virtio_net_hdr` of linux/virtio_net.h).
/// Numbers are in host order, as a TUN device has them by default.
public struct VirtioNetHeader: Equatable, Sendable, BitwiseCopyable {
  public static let size = 10

  public struct Flags: OptionSet, Sendable, BitwiseCopyable {
    public let rawValue: UInt8

    public init(rawValue: UInt8) {
      self.rawValue = rawValue
    }

    /// VIRTIO_NET_HDR_F_NEEDS_CSUM
    public static let needsChecksum = Flags(rawValue: 1)
    /// VIRTIO_NET_HDR_F_DATA_VALID
    public static let dataValid = Flags(rawValue: 2)
  }

  /// VIRTIO_NET_HDR_GSO_…
  public enum SegmentationType {
    public static let none: UInt8 = 0
    public static let tcp4: UInt8 = 1
    /// Fragmentation of UDP: no longer in kernels, never offered.
    public static let udpFragments: UInt8 = 3
    public static let tcp6: UInt8 = 4
    public static let udp: UInt8 = 5
    /// A bit beside the TCP types.
    public static let ecn: UInt8 = 0x80
  }

  public var flags: Flags
  /// One of `SegmentationType`, with or without the ECN bit.
  public var segmentationType: UInt8
  /// Bytes of all headers before the payload. A hint by the sender, never relied on when read; when written the
  /// kernel wants IP and TCP header.
  public var headerLength: UInt16
  /// Payload bytes of each segment but the last.
  public var segmentSize: UInt16
  /// Where the checksummed part begins, from the packet's first byte.
  public var checksumStart: UInt16
  /// Where the checksum field stands, from `checksumStart`.
  public var checksumOffset: UInt16

  public init(
    flags: Flags = [], segmentationType: UInt8 = SegmentationType.none, headerLength: UInt16 = 0,
    segmentSize: UInt16 = 0, checksumStart: UInt16 = 0, checksumOffset: UInt16 = 0
  ) {
    self.flags = flags
    self.segmentationType = segmentationType
    self.headerLength = headerLength
    self.segmentSize = segmentSize
    self.checksumStart = checksumStart
    self.checksumOffset = checksumOffset
  }

  /// The header that tells the kernel about `offload`.
  ///
  /// - Parameter headerLength: bytes of all headers before the payload; only told with segmentation.
  public init(_ offload: Offload, headerLength: Int) {
    self.init()
    switch offload.checksum {
    case .complete: break
    case .verified: flags = .dataValid
    case .partial(let start, let offset):
      flags = .needsChecksum
      checksumStart = UInt16(truncatingIfNeeded: start)
      checksumOffset = UInt16(truncatingIfNeeded: offset)
    }
    switch offload.segmentation {
    case .none: return
    case .tcp4: segmentationType = SegmentationType.tcp4 | (offload.hasECN ? SegmentationType.ecn : 0)
    case .tcp6: segmentationType = SegmentationType.tcp6 | (offload.hasECN ? SegmentationType.ecn : 0)
    case .udp: segmentationType = SegmentationType.udp
    }
    segmentSize = UInt16(truncatingIfNeeded: offload.segmentSize)
    self.headerLength = UInt16(truncatingIfNeeded: headerLength)
  }

  /// Reads the fields as they are: see `validate` before any of them is used.
  public init(parsing bytes: Span<UInt8>) throws(ParseError) {
    try bytes.require(Self.size, for: .virtioNet)
    flags = Flags(rawValue: bytes[0])
    segmentationType = bytes[1]
    // `load16` swaps to host order; what was in host order is swapped back.
    headerLength = UInt16(bigEndian: bytes.load16(2))
    segmentSize = UInt16(bigEndian: bytes.load16(4))
    checksumStart = UInt16(bigEndian: bytes.load16(6))
    checksumOffset = UInt16(bigEndian: bytes.load16(8))
  }

  /// Checks the header against the packet behind it.
  ///
  /// - Parameter packetLength: bytes of the packet without this header.
  public func validate(against packetLength: Int) throws(ParseError) -> Offload {
    var offload = Offload()
    if flags.contains(.needsChecksum) {
      let end = Int(checksumStart) &+ Int(checksumOffset) &+ 2
      guard end <= packetLength else { throw ParseError(.virtioNet, .badOffset(end)) }
      offload.checksum = .partial(start: Int(checksumStart), offset: Int(checksumOffset))
    } else if flags.contains(.dataValid) {
      offload.checksum = .verified
    }
    switch segmentationType {
    case SegmentationType.none: return offload
    case SegmentationType.tcp4, SegmentationType.tcp4 | SegmentationType.ecn: offload.segmentation = .tcp4
    case SegmentationType.tcp6, SegmentationType.tcp6 | SegmentationType.ecn: offload.segmentation = .tcp6
    case SegmentationType.udp: offload.segmentation = .udp
    default: throw ParseError(.virtioNet, .badOffload(segmentationType))
    }
    guard segmentSize > 0 else { throw ParseError(.virtioNet, .badSegmentSize(0)) }
    offload.segmentSize = Int(segmentSize)
    offload.hasECN = segmentationType & SegmentationType.ecn != 0
    return offload
  }

  /// Writes 10 bytes.
  public func write(into bytes: inout MutableSpan<UInt8>) {
    precondition(bytes.count >= Self.size, "no room for the header")
    bytes[0] = flags.rawValue
    bytes[1] = segmentationType
    bytes.store(headerLength.bigEndian, at: 2)
    bytes.store(segmentSize.bigEndian, at: 4)
    bytes.store(checksumStart.bigEndian, at: 6)
    bytes.store(checksumOffset.bigEndian, at: 8)
  }
}

extension VirtioNetHeader: CustomStringConvertible {
  public var description: String {
    "vnet flags 0x\(String(flags.rawValue, radix: 16)), gso 0x\(String(segmentationType, radix: 16)) "
      + "size \(segmentSize), hdr \(headerLength), csum \(checksumStart)+\(checksumOffset)"
  }
}
