import Control
import Crypto
import Testing

@Suite struct EnrolmentCodeTests {
  let gate = KeyHash((0..<32).map { UInt8(truncatingIfNeeded: $0 * 37 + 5) })!

  @Test func codesGoThroughText() throws {
    for _ in 0..<50 {
      let code = try EnrolmentCode(gateKey: gate)
      #expect(code.text.count == 44 + 10)
      #expect(try EnrolmentCode(code.text) == code)
      #expect(code.secret.count == 10)
      #expect(code.matches(gateKey: gate))
      var other = gate.bytes
      other[15] ^= 1
      #expect(!code.matches(gateKey: try #require(KeyHash(other))))
    }
  }

  @Test func peopleMayTypeAsTheyLike() throws {
    let code = try EnrolmentCode(gateKey: gate)
    let digits = code.text.filter { $0 != "-" }
    #expect(try EnrolmentCode(digits.lowercased()) == code)
    #expect(try EnrolmentCode(" " + code.text.replacing("-", with: " ") + "\n") == code)
    let confused = digits.replacing("0", with: "o").replacing("1", with: "l")
    #expect(try EnrolmentCode(confused) == code)
  }

  @Test func everySingleTypoIsFound() throws {
    let code = try EnrolmentCode(gateKey: gate)
    let digits = Array(code.text.filter { $0 != "-" })
    for position in digits.indices {
      for replacement in "0123456789ABCDEFGHJKMNPQRSTVWXYZ" where replacement != digits[position] {
        var typed = digits
        typed[position] = replacement
        #expect(throws: EnrolmentCodeError.typingError) { try EnrolmentCode(String(typed)) }
      }
    }
  }

  @Test func everySwapIsFound() throws {
    let code = try EnrolmentCode(gateKey: gate)
    let digits = Array(code.text.filter { $0 != "-" })
    for left in digits.indices.dropLast() where digits[left] != digits[left + 1] {
      var typed = digits
      typed.swapAt(left, left + 1)
      #expect(throws: EnrolmentCodeError.typingError) { try EnrolmentCode(String(typed)) }
    }
  }

  @Test func errorsSayWhatIsWrong() throws {
    let text = try EnrolmentCode(gateKey: gate).text
    #expect(throws: EnrolmentCodeError.length(found: 43, expected: 44)) { try EnrolmentCode(String(text.dropLast())) }
    #expect(throws: EnrolmentCodeError.length(found: 45, expected: 44)) { try EnrolmentCode(text + "0") }
    #expect(throws: EnrolmentCodeError.length(found: 0, expected: 44)) { try EnrolmentCode("") }
    #expect(throws: EnrolmentCodeError.character("U", position: 1)) { try EnrolmentCode("U" + text.dropFirst()) }
    #expect(throws: EnrolmentCodeError.character("é", position: 3)) { try EnrolmentCode("00é") }
  }

  @Test func secretsAreStoredAsHashes() throws {
    let code = try EnrolmentCode(gateKey: gate)
    #expect(try EnrolmentCode.hash(secret: code.secret) == EnrolmentCode.hash(secret: EnrolmentCode(code.text).secret))
    #expect(
      try EnrolmentCode.hash(secret: code.secret)
        != EnrolmentCode.hash(secret: EnrolmentCode(gateKey: gate).secret))
    #expect(!"\(code)".contains(code.text))
  }
}
