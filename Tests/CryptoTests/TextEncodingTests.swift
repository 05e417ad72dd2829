import Crypto
import Testing

@Suite struct TextEncodingTests {
  // RFC 4648 section 10.
  @Test(
    arguments: [
      ("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("fooba", "Zm9vYmE="),
      ("foobar", "Zm9vYmFy"),
    ])
  func base64OfRFC4648(plain: String, encoded: String) {
    #expect(Base64.encode(Array(plain.utf8)) == encoded)
    #expect(Base64.decode(encoded) == Array(plain.utf8))
  }

  @Test(arguments: ["Zg=", "Zg", "Zh==", "Zm9=", "Zg==Zg==", "Z===", "====", "Zm 9", "Zm9v\n", "Zm9-"])
  func otherTextIsNotBase64(text: String) {
    #expect(Base64.decode(text) == nil)
  }

  @Test func everyByteGoesThroughBoth() {
    let all = (0...255).map { UInt8($0) }
    #expect(Base64.decode(Base64.encode(all)) == all)
    #expect(Hex.decode(Hex.encode(all)) == all)
    #expect(Hex.decode("0") == nil)
    #expect(Hex.decode("0x") == nil)
    #expect(Hex.decode("aBCd") == [0xAB, 0xCD])
  }
}
