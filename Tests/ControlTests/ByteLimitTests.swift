import Control
import Testing

@Suite struct ByteLimitTests {
  @Test func cutsBetweenScalars() {
    #expect("plain".prefix(bytes: 5) == "plain" && "plain".prefix(bytes: 4) == "plai")
    #expect("aé€😀".prefix(bytes: 10) == "aé€😀")
    // Two bytes, three, four: none is cut in the middle.
    #expect((0...9).map { "aé€😀".prefix(bytes: $0).utf8.count } == [0, 1, 1, 3, 3, 3, 6, 6, 6, 6])
    #expect("x".prefix(bytes: 0).isEmpty && "".prefix(bytes: 0).isEmpty)
  }

  @Test func aCharacterWithoutEndIsCutAsWell() {
    let long = "a" + String(repeating: "\u{301}", count: 100_000)
    #expect(long.count == 1)
    let cut = long.prefix(bytes: 64)
    #expect(cut.utf8.count == 63 && cut.unicodeScalars.count == 32)
  }
}
