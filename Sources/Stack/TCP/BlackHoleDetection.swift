/// Notices a path on which full segments vanish without an ICMP error: smaller ones are tried after some timeouts in a
/// row, as RFC 4821 section 7.7 suggests (RFC 2923 section 2.1 describes the problem).
struct BlackHoleDetection {
  /// Timeouts in a row after which the segment's size is suspected.
  static let suspicion = 3
  /// Payload that passes wherever IP does in practice: 1280 bytes, the minimum MTU of IPv6, less headers and options.
  static let safeSegment = 1280 - 60 - 12

  /// The size to go back to if it turns out not to be the reason.
  private var original: Int?

  /// - Returns: the segment size to use from now on, if that changes.
  mutating func timedOut(backoffs: Int, segment: Int) -> Int? {
    guard backoffs == Self.suspicion, segment > Self.safeSegment else { return nil }
    original = segment
    return Self.safeSegment
  }

  /// An acknowledgement moved something. If the first small segment got through, it was the size; if small ones were
  /// lost as well, or the large ones arrived after all, it was something else.
  ///
  /// - Parameters:
  ///   - backoffs: timeouts in a row until then.
  ///   - isSpurious: whether what was sent before the timeout had arrived.
  /// - Returns: the segment size to go back to, if it wasn't the size.
  mutating func progress(backoffs: Int, isSpurious: Bool) -> Int? {
    guard let segment = original else { return nil }
    original = nil
    return backoffs > Self.suspicion || isSpurious ? segment : nil
  }
}
