import Discovery
import Packet
import Primitives
import Testing

let own = MACAddress(0x0200_0000_0001)
let other = MACAddress(0x0200_0000_0002)

/// Bytes from hexadecimal digits; blanks and line feeds between them are for people.
func hex(_ text: String) -> [UInt8] {
  let digits = text.filter { !$0.isWhitespace }.compactMap(\.hexDigitValue)
  return stride(from: 0, to: digits.count, by: 2).map { UInt8(digits[$0] << 4 | digits[$0 + 1]) }
}

func ethernet(to destination: MACAddress, from source: MACAddress, _ type: EtherType, _ payload: [UInt8]) -> [UInt8] {
  var bytes = [UInt8](repeating: 0, count: EthernetHeader.minimumSize)
  var span = bytes.mutableSpan
  EthernetHeader(destination: destination, source: source, type: type).write(into: &span)
  return bytes + payload
}

/// Each shorter prefix is refused or read, random bytes and the message with changed bytes as well; nothing traps.
func expectNoTrap(_ message: [UInt8], seed: UInt64, mayBeCut: Bool = false, _ parse: (Span<UInt8>) -> Bool) {
  let isWhole = parse(message.span)
  #expect(isWhole, "the whole message")
  for length in 0..<message.count {
    let isRead = parse(message.span.extracting(0..<length))
    if !mayBeCut { #expect(!isRead, "\(length) of \(message.count) bytes") }
  }
  var random = SeededRandom(seed: seed)
  for _ in 0..<2000 {
    var bytes = message
    for _ in 0..<Int.random(in: 1...4, using: &random) {
      bytes[Int.random(in: 0..<bytes.count, using: &random)] = UInt8.random(in: 0...255, using: &random)
    }
    _ = parse(bytes.span.extracting(0..<Int.random(in: 0...bytes.count, using: &random)))
    let count = Int.random(in: 0...200, using: &random)
    let noise = (0..<count).map { _ in UInt8.random(in: 0...255, using: &random) }
    _ = parse(noise.span)
    // Behind a beginning that is right, noise gets further.
    let start = message.prefix(Int.random(in: 0...message.count, using: &random))
    let mixed = Array(start) + noise
    _ = parse(mixed.span)
  }
}
