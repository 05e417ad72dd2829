import Primitives

/// The checks that a segment for a synchronised connection passes before anything in it is believed
/// (RFC 9293 section 3.10.7.4, hardened by RFC 5961).
enum SegmentAcceptance {
  enum SequenceVerdict: Equatable {
    case acceptable
    /// Nothing of it lies in the window: answered with an acknowledgement, and dropped.
    case outside
  }

  /// The four cases of the table in RFC 9293 section 3.4, with two allowances.
  ///
  /// A segment at `next` is let through a closed window, so that its acknowledgement counts; the payload is cut later.
  /// A FIN takes no room: Linux sends it into a full window.
  static func sequence(
    _ sequence: SequenceNumber, count: Int, next: SequenceNumber, window: Int
  ) -> SequenceVerdict {
    let offset = sequence - next
    if offset == 0 { return .acceptable }
    if count == 0 { return offset > 0 && offset <= window ? .acceptable : .outside }
    return offset < window && offset + count > 0 ? .acceptable : .outside
  }

  enum ResetVerdict: Equatable { case reset, challenge, ignore }

  /// RFC 5961 section 3.2: only the exact number resets.
  static func reset(_ sequence: SequenceNumber, next: SequenceNumber, window: Int) -> ResetVerdict {
    let offset = sequence - next
    if offset == 0 { return .reset }
    return offset > 0 && offset < window ? .challenge : .ignore
  }

  enum AcknowledgementVerdict: Equatable { case acceptable, old, challenge }

  /// RFC 5961 section 5.2: SND.UNA - MAX.SND.WND ≤ SEG.ACK ≤ SND.NXT.
  static func acknowledgement(
    _ number: SequenceNumber, una: SequenceNumber, nxt: SequenceNumber, maximumWindow: Int
  ) -> AcknowledgementVerdict {
    if number > nxt { return .challenge }
    if number >= una { return .acceptable }
    return una - number <= maximumWindow ? .old : .challenge
  }
}
