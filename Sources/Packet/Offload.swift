/// What was left undone in a packet's checksums and segmentation, for the next one to do.
public struct Offload: Equatable, Sendable, BitwiseCopyable {
  public enum ChecksumState: Equatable, Sendable, BitwiseCopyable {
    /// The checksum fields are as they must be.
    case complete
    /// The field `offset` bytes behind `start` holds the folded sum of the pseudo-header; the sum over everything
    /// from `start`, which is counted from the packet's first byte, is still to be added.
    case partial(start: Int, offset: Int)
    /// Checked already: no need to do it again. The fields may be anything.
    case verified
  }

  public enum Segmentation: UInt8, Sendable, BitwiseCopyable {
    case none, tcp4, tcp6, udp
  }

  public var checksum: ChecksumState
  public var segmentation: Segmentation
  /// Payload bytes of each segment but the last; 0 without segmentation.
  public var segmentSize: Int
  /// Whether the first segment alone is to carry CWR (RFC 3168 section 6.1.2).
  public var hasECN: Bool

  public init(
    checksum: ChecksumState = .complete, segmentation: Segmentation = .none, segmentSize: Int = 0, hasECN: Bool = false
  ) {
    self.checksum = checksum
    self.segmentation = segmentation
    self.segmentSize = segmentSize
    self.hasECN = hasECN
  }

  /// An ordinary packet: nothing left undone.
  public static let none = Offload()
}
