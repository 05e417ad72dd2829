import Crypto
import Testing

@Suite struct SHA256Tests {
  @Test func hashesThePublishedVectors() throws {
    #expect(
      try sha256("abc").bytes
        == hex("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"))
    #expect(
      try sha256("").bytes == hex("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"))
  }

  @Test func digestsGoThroughBytes() throws {
    let digest = try sha256("abc")
    #expect(CryptoTests.digest(digest.bytes) == digest)
    #expect(CryptoTests.digest(hex("00")) == nil)
    #expect(try sha256("abd") != digest)
  }

  @Test func lengthPrefixesTellPartsApart() throws {
    let left = try SHA256.hash(lengthPrefixed: [[1, 2], [3]])
    let right = try SHA256.hash(lengthPrefixed: [[1], [2, 3]])
    #expect(left != right)
    #expect(try SHA256.hash(lengthPrefixed: [[1, 2], [3]]) == left)
  }

  // RFC 4231 test case 2.
  @Test func authenticatesThePublishedVector() throws {
    let code = try HMAC.authenticate(Array("what do ya want for nothing?".utf8).span, key: Array("Jefe".utf8).span)
    #expect(code.bytes == hex("5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"))
  }

  @Test func comparesInFull() throws {
    #expect(constantTimeEquals(hex("0102"), hex("0102")))
    #expect(!constantTimeEquals(hex("0102"), hex("0103")))
    #expect(!constantTimeEquals(hex("0102"), hex("01")))
    #expect(constantTimeEquals(hex(""), hex("")))
    #expect(try SecretBytes(random: 32).equals(SecretBytes(random: 32)) == false)
  }
}
