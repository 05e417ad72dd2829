import Primitives

/// Walks the frames of an opened record.
public struct FrameCursor: Sendable {
  private var rest: Slice

  public init(_ record: Slice) {
    rest = record
  }

  /// The next frame's header and payload, or `nil` at the end. The payload is part of the record: retain what is kept.
  public mutating func next(pool: borrowing SlabPool) throws(FrameError) -> (header: FrameHeader, payload: Slice)? {
    guard !rest.isEmpty else { return nil }
    let header = try pool.withSpan(rest) { bytes throws(FrameError) in try FrameHeader(parsing: bytes) }
    let payload = rest.range(from: FrameHeader.size, count: header.length)
    rest = rest.dropping(FrameHeader.size + header.length)
    return (header, payload)
  }
}
