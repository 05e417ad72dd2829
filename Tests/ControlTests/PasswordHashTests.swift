import Control
import Testing

@Suite struct PasswordHashTests {
  @Test func theRightPasswordVerifies() throws {
    let hash = try PasswordHash(hashing: "Correct horse 7")
    #expect(try hash.verify("Correct horse 7"))
    #expect(try !hash.verify("Correct horse 8"))
    #expect(try !hash.verify(""))
    let stored = try #require(PasswordHash(hash.description))
    #expect(stored == hash)
    #expect(try stored.verify("Correct horse 7"))
    #expect(try PasswordHash(hashing: "Correct horse 7") != hash)
  }

  @Test(
    arguments: [
      "", "scrypt$$$$$", "scrypt$1000$8$1$AAAAAAAAAAAAAAAAAAAAAA==$AAAA",
      "scrypt$1073741824$8$1$AAAAAAAAAAAAAAAAAAAAAA==$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
      "scrypt$32768$8$1$AAAAAAAAAAAAAAAAAAAAAA==$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
      "bcrypt$32768$8$1$AAAAAAAAAAAAAAAAAAAAAA==$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
    ])
  func otherTextIsNoHash(text: String) {
    #expect(PasswordHash(text) == nil)
  }

  @Test func overlongPasswordsAreNotCutToTheRightOne() throws {
    let longest = String(repeating: "Aa1", count: 85) + "!"
    let hash = try PasswordHash(hashing: longest)
    #expect(try hash.verify(longest))
    #expect(try !hash.verify(longest + "x"))
    #expect(throws: (any Error).self) { try PasswordHash(hashing: longest + "x") }
  }

  @Test func thePolicyAsksForLengthAndVariety() {
    #expect(throws: Never.self) { try PasswordPolicy.check("abcdefghiJK1") }
    #expect(throws: Never.self) { try PasswordPolicy.check("abcdefghij1!") }
    #expect(throws: PasswordPolicyError.tooShort(minimum: 12)) { try PasswordPolicy.check("abcdefghJK1") }
    #expect(throws: PasswordPolicyError.tooFewClasses(minimum: 3)) { try PasswordPolicy.check("abcdefghijkl1") }
    #expect(throws: PasswordPolicyError.tooLong(maximum: 256)) {
      try PasswordPolicy.check(String(repeating: "aA1", count: 100))
    }
  }
}
