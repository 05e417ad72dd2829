import Crypto
import Testing

@Suite struct KeyDerivationTests {
  @Test func hkdfOfRFC5869Case1() throws {
    let input = try SecretBytes(copying: hex("0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b").span)
    let extracted = try HKDF.extract(input, salt: hex("000102030405060708090a0b0c").span)
    #expect(bytes(extracted) == hex("077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5"))
    let expanded = try HKDF.expand(extracted, info: hex("f0f1f2f3f4f5f6f7f8f9"), count: 42)
    #expect(
      bytes(expanded)
        == hex("3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865"))
  }

  @Test func hkdfOfRFC5869Case3() throws {
    let input = try SecretBytes(copying: [UInt8](repeating: 0x0b, count: 22).span)
    let extracted = try HKDF.extract(input, salt: hex("").span)
    #expect(bytes(extracted) == hex("19ef24a32c717b167f33a91d6f648bdf96596776afdb6377ac434c1c293ccb04"))
    let expanded = try HKDF.expand(extracted, info: [], count: 42)
    #expect(
      bytes(expanded)
        == hex("8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8"))
  }

  @Test func hkdfRefusesSizesThatItCannotMake() throws {
    let key = try SecretBytes(random: 32)
    #expect(throws: CryptoError.self) { try HKDF.expand(key, info: [], count: 8161) }
    #expect(throws: CryptoError.self) { try HKDF.expand(key, info: [], count: 0) }
  }

  @Test func scryptOfRFC7914() throws {
    let password = Array("password".utf8)
    let salt = Array("NaCl".utf8)
    let key = try Scrypt.derive(
      password: password.span, salt: salt.span, cost: 1024, blockSize: 8, parallelism: 16, count: 64)
    #expect(
      bytes(key)
        == hex(
          """
          fdbabe1c9d3472007856e7190d01e9fe7c6ad7cbc8237830e77376634b373162
          2eaf30d92e22a3886ff109279d9830dac727afb94a83ee6d8360cbdfa2cc0640
          """))
    let none = hex("")
    let empty = try Scrypt.derive(password: none.span, salt: none.span, cost: 16, blockSize: 1, count: 64)
    #expect(
      bytes(empty)
        == hex(
          """
          77d6576238657b203b19ca42c18a0497f16b4844e3074ae8dfdffa3fede21442
          fcd0069ded0948f8326a753a0fc81f17e8d3e0fb2e0d3628cf35e20c38d18906
          """))
  }

  @Test func scryptKeepsWithinItsMemory() {
    let none = hex("")
    #expect(throws: CryptoError.self) { try Scrypt.derive(password: none.span, salt: none.span, cost: 1 << 20) }
    #expect(throws: CryptoError.self) { try Scrypt.derive(password: none.span, salt: none.span, cost: 1000) }
  }
}
