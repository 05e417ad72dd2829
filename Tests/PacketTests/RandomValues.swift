import Packet
import Primitives
import Testing

func randomBytes(_ count: Int, _ random: inout SeededRandom) -> [UInt8] {
  (0..<count).map { _ in UInt8(truncatingIfNeeded: random.next()) }
}

func randomAddress(_ family: IPAddress.Family, _ random: inout SeededRandom) -> IPAddress {
  family == .v4
    ? IPAddress(v4: UInt32(truncatingIfNeeded: random.next()))
    : IPAddress(v6: UInt128(random.next()) << 64 | UInt128(random.next()))
}

func random16(_ random: inout SeededRandom) -> UInt16 { UInt16(truncatingIfNeeded: random.next()) }
func random32(_ random: inout SeededRandom) -> UInt32 { UInt32(truncatingIfNeeded: random.next()) }
func random8(_ random: inout SeededRandom) -> UInt8 { UInt8(truncatingIfNeeded: random.next()) }

/// The bytes that `write` leaves in a buffer of `count` bytes.
func written(_ count: Int, _ write: (inout MutableSpan<UInt8>) -> Void) -> [UInt8] {
  var bytes = [UInt8](repeating: 0xAA, count: count)
  var span = bytes.mutableSpan
  write(&span)
  return bytes
}

/// Every shorter prefix of `bytes` must be refused as truncated or of bad length.
func expectRefusedWhenCut<T>(_ bytes: [UInt8], _ parse: (Span<UInt8>) throws(ParseError) -> T) {
  for length in 0..<bytes.count {
    do throws(ParseError) {
      _ = try parse(bytes.span.extracting(0..<length))
      Issue.record("accepted \(length) of \(bytes.count) bytes")
    } catch {
      switch error.reason {
      case .truncated(let needed, let have): #expect(needed > have && have <= length)
      case .badLength: break
      default: Issue.record("refused for another reason: \(error)")
      }
    }
  }
}

/// Random bytes, of random length and with `shape` applied so that some get past the first check, never trap.
func feedRandomBytes(
  seed: UInt64, upTo limit: Int, shape: (inout [UInt8], inout SeededRandom) -> Void = { _, _ in },
  _ parse: (Span<UInt8>) throws(ParseError) -> Void
) {
  var random = SeededRandom(seed: seed)
  for _ in 0..<100_000 {
    var bytes = randomBytes(Int(random.next() % UInt64(limit + 1)), &random)
    shape(&bytes, &random)
    do throws(ParseError) { try parse(bytes.span) } catch { _ = error.reason }
  }
}
