/// Pings and pongs, read and written without a JSON coder.
///
/// Idle connections exchange nothing else, and a GateManager with 10,000 of them sees 500 pings a second. This is the
/// very text that the coder writes; whatever looks different is left to the coder.
enum Heartbeat {
  private static let start = Array(#"{"id":"#.utf8)
  private static let ping = Array(#","type":"ping"}"#.utf8)
  private static let pong = Array(#","type":"pong"}"#.utf8)

  /// `nil` for every other message, and for those with a request's number.
  static func encode(_ envelope: ControlEnvelope) -> [UInt8]? {
    guard envelope.request == nil else { return nil }
    switch envelope.message {
    case .ping(let id): return start + Array("\(id)".utf8) + ping
    case .pong(let id): return start + Array("\(id)".utf8) + pong
    default: return nil
    }
  }

  /// `nil` unless the text is one of the two.
  static func decode(_ text: ArraySlice<UInt8>) -> ControlEnvelope? {
    guard text.starts(with: start) else { return nil }
    var rest = text.dropFirst(start.count)
    guard let id = number(&rest) else { return nil }
    if rest.elementsEqual(ping) { return ControlEnvelope(.ping(id)) }
    return rest.elementsEqual(pong) ? ControlEnvelope(.pong(id)) : nil
  }

  /// Takes decimal digits off the front. JSON has no leading zeros (RFC 8259 section 6).
  private static func number(_ text: inout ArraySlice<UInt8>) -> UInt64? {
    let digits = text.prefix { (0x30...0x39).contains($0) }
    guard let first = digits.first, first != 0x30 || digits.count == 1 else { return nil }
    var value: UInt64 = 0
    for digit in digits {
      let (tens, isTooLarge) = value.multipliedReportingOverflow(by: 10)
      let (sum, overflows) = tens.addingReportingOverflow(UInt64(digit - 0x30))
      guard !isTooLarge, !overflows else { return nil }
      value = sum
    }
    text = text.dropFirst(digits.count)
    return value
  }
}
