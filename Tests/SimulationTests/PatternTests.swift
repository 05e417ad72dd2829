import Primitives
import Testing

@testable import Simulation

@Suite struct PatternTests {
  private func bytes(_ key: Int, _ range: Range<Int>) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: range.count)
    var span = bytes.mutableSpan
    Pattern.write(key, from: range.lowerBound, into: &span)
    return bytes
  }

  @Test func isTheSameHoweverItIsCut() {
    let whole = bytes(3, 0..<200_000)
    for (start, end) in [(0, 1), (65_535, 65_537), (100, 140_000), (131_072, 200_000)] {
      #expect(bytes(3, start..<end) == Array(whole[start..<end]))
      #expect(Pattern.matching(3, from: start, whole.span.extracting(start..<end)) == end - start)
    }
  }

  /// A byte that is missing, doubled or of another stream doesn't go unnoticed for long.
  @Test func differsEverywhere() {
    let whole = bytes(3, 0..<200_000)
    for shift in [1, 2, 64, 1448, 16_376, 65_536] {
      #expect(Pattern.matching(3, from: 1000, whole.span.extracting((1000 + shift)..<150_000)) < 8)
    }
    #expect(Pattern.matching(4, from: 0, whole.span) < 8)
  }
}
