import Crypto
import Testing

@Suite struct AEADTests {
  // Test case 16 of McGrew and Viega, "The Galois/Counter Mode of Operation".
  let key = hex("feffe9928665731c6d6a8f9467308308 feffe9928665731c6d6a8f9467308308")
  let vector = hex("cafebabefacedbaddecaf888")
  let additional = hex("feedfacedeadbeeffeedfacedeadbeefabaddad2")
  let plaintext = hex(
    """
    d9313225f88406e5a55909c5aff5269a 86a7a9531534f7da2e4c303d8a318a72
    1c3c0c95956809532fcf0e2449a6b525 b16aedf5aa0de657ba637b39
    """)
  let ciphertext = hex(
    """
    522dc1f099567d07f47f37a32a84427d 643a8cdcbfe5c0c97598a2bd2555d1aa
    8cb08e48590dbb3da7b08b1056828838 c5f61e6393ba7a0abcc9f662
    """)
  let tag = hex("76fc6ece0f4e1768cddf8853bb2d551b")

  /// Seals in pieces that end at the given offsets.
  func seal(
    _ key: inout SealingKey, _ nonce: AEADNonce, _ bytes: inout [UInt8], cuts: [Int] = []
  ) throws -> [UInt8] {
    var tag = [UInt8](repeating: 0, count: AEAD.tagSize)
    try unsafe additional.withUnsafeBytes { aad in
      unsafe try key.begin(nonce, additionalData: aad.baseAddress!, count: aad.count)
    }
    try unsafe bytes.withUnsafeMutableBytes { memory in
      var start = 0
      for end in cuts + [memory.count] {
        unsafe try key.update(memory.baseAddress! + start, count: end - start)
        start = end
      }
    }
    try unsafe tag.withUnsafeMutableBytes { unsafe try key.finish(tag: $0.baseAddress!) }
    return tag
  }

  func open(
    _ key: inout OpeningKey, _ nonce: AEADNonce, _ bytes: inout [UInt8], tag: [UInt8], cuts: [Int] = []
  ) throws {
    try unsafe additional.withUnsafeBytes { aad in
      unsafe try key.begin(nonce, additionalData: aad.baseAddress!, count: aad.count)
    }
    try unsafe bytes.withUnsafeMutableBytes { memory in
      var start = 0
      for end in cuts + [memory.count] {
        unsafe try key.update(memory.baseAddress! + start, count: end - start)
        start = end
      }
    }
    try unsafe tag.withUnsafeBytes { unsafe try key.finish(verifying: $0.baseAddress!) }
  }

  @Test func sealsThePublishedVector() throws {
    var sealing = try SealingKey(key.span)
    var opening = try OpeningKey(key.span)
    let nonce = try aeadVector(vector).nonce(0)
    var bytes = plaintext
    #expect(try seal(&sealing, nonce, &bytes) == tag)
    #expect(bytes == ciphertext)
    try open(&opening, nonce, &bytes, tag: tag)
    #expect(bytes == plaintext)
  }

  @Test(arguments: [[1], [15, 16, 17], [3, 3, 40], [59]])
  func piecesMakeTheSameRecordAsOneShot(cuts: [Int]) throws {
    var sealing = try SealingKey(key.span)
    var opening = try OpeningKey(key.span)
    let nonce = try aeadVector(vector).nonce(0)
    var bytes = plaintext
    #expect(try seal(&sealing, nonce, &bytes, cuts: cuts) == tag)
    #expect(bytes == ciphertext)
    try open(&opening, nonce, &bytes, tag: tag, cuts: cuts.reversed().sorted())
    #expect(bytes == plaintext)
  }

  @Test func largeRecordsInOddPiecesOpen() throws {
    var sealing = try SealingKey(key.span)
    var opening = try OpeningKey(key.span)
    let vector = try aeadVector(vector)
    let original = (0..<16384).map { UInt8(truncatingIfNeeded: $0 &* 7) }
    for counter in 0..<64 as Range<UInt64> {
      var bytes = original
      let cuts = [Int(counter), 64 + Int(counter) * 3, 9000]
      let tag = try seal(&sealing, vector.nonce(counter), &bytes, cuts: cuts)
      try open(&opening, vector.nonce(counter), &bytes, tag: tag)
      #expect(bytes == original)
    }
  }

  @Test func everyChangeIsRefused() throws {
    var sealing = try SealingKey(key.span)
    var opening = try OpeningKey(key.span)
    let vector = try aeadVector(vector)
    var sealed = plaintext
    let tag = try seal(&sealing, vector.nonce(1), &sealed)
    func refuses(_ nonce: AEADNonce, _ bytes: [UInt8], _ tag: [UInt8]) -> Bool {
      var bytes = bytes
      do {
        try open(&opening, nonce, &bytes, tag: tag)
        return false
      } catch {
        return (error as? CryptoError)?.kind == .authentication
      }
    }
    #expect(!refuses(vector.nonce(1), sealed, tag))
    #expect(refuses(vector.nonce(2), sealed, tag))
    #expect(refuses(vector.nonce(1), sealed.dropLast(), tag))
    for bit in 0..<8 {
      var changed = sealed
      changed[bit * 7] ^= 1 << UInt8(bit)
      #expect(refuses(vector.nonce(1), changed, tag))
      var wrong = tag
      wrong[bit * 2] ^= 1 << UInt8(bit)
      #expect(refuses(vector.nonce(1), sealed, wrong))
    }
    #expect(!refuses(vector.nonce(1), sealed, tag))
  }

  @Test func emptyRecordsHaveATag() throws {
    var sealing = try SealingKey(key.span)
    var opening = try OpeningKey(key.span)
    let nonce = try aeadVector(vector).nonce(9)
    var none: [UInt8] = []
    var tag = [UInt8](repeating: 0, count: 16)
    try unsafe additional.withUnsafeBytes { aad in
      unsafe try sealing.begin(nonce, additionalData: aad.baseAddress!, count: aad.count)
    }
    try unsafe tag.withUnsafeMutableBytes { unsafe try sealing.finish(tag: $0.baseAddress!) }
    none.reserveCapacity(1)
    try open(&opening, nonce, &none, tag: tag)
  }

  @Test func counterIsXoredIntoTheLastEightBytes() throws {
    let vector = try aeadVector(hex("000102030405060708090a0b"))
    let flipped = try aeadVector(hex("000102030506070809080b0a"))
    let counter: UInt64 = 0x0405_0607_0809_0A0B ^ 0x0506_0708_0908_0B0A
    #expect(vector.nonce(counter) == flipped.nonce(0))
    #expect(throws: (any Error).self) { try aeadVector(hex("0001")) }
  }

  @Test func keysOfAnotherSizeAreRefused() {
    #expect(throws: CryptoError.self) { _ = try SealingKey(hex("00").span) }
    #expect(throws: CryptoError.self) { _ = try OpeningKey([UInt8](repeating: 0, count: 33).span) }
  }
}
