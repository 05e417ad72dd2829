import Crypto
import Glibc
import Testing

@Suite struct PrivateKeyTests {
  @Test func signaturesVerify() throws {
    let key = try PrivateKey.generate()
    let other = try PrivateKey.generate()
    let text = Array("a grant".utf8)
    let signature = try key.sign(text)
    #expect(key.publicKey.isValid(signature: signature, of: text))
    #expect(!key.publicKey.isValid(signature: signature, of: text + [0]))
    #expect(!other.publicKey.isValid(signature: signature, of: text))
    #expect(!key.publicKey.isValid(signature: [], of: text))
    #expect(!key.publicKey.isValid(signature: Array(signature.dropLast()), of: text))
    #expect(key.publicKey.isValid(signature: try key.sign([]), of: []))
  }

  @Test func keysGoThroughPEMAndDER() throws {
    let key = try PrivateKey.generate()
    let copy = try PrivateKey(pem: key.pem())
    #expect(copy.keyHash == key.keyHash)
    #expect(try PublicKey(der: key.publicKey.der) == key.publicKey)
    #expect(throws: CryptoError.self) { try PrivateKey(pem: "no key") }
  }

  /// A file that was damaged, or put together from two: what it signs, nobody could verify.
  @Test func halvesOfDifferentKeysAreRefused() throws {
    let halves = try (0..<2).map { _ in
      let lines = try PrivateKey.generate().pem().split(separator: "\n")
      return try #require(Base64.decode(lines.dropFirst().dropLast().joined()))
    }
    // The public key's point is the last 64 bytes (RFC 5915 section 3).
    let mixed = Array(halves[0].dropLast(64) + halves[1].suffix(64))
    let pem = { (der: [UInt8]) in "-----BEGIN PRIVATE KEY-----\n\(Base64.encode(der))\n-----END PRIVATE KEY-----\n" }
    #expect(throws: CryptoError.self) { try PrivateKey(pem: pem(mixed)) }
    #expect(throws: Never.self) { try PrivateKey(pem: pem(halves[0])) }
  }

  @Test func filesAreForTheOwnerOnlyAndNotReplacedUnasked() throws {
    var template = Array("/tmp/crypto-tests-XXXXXX".utf8CString)
    let directory = unsafe template.withUnsafeMutableBufferPointer { buffer in
      unsafe String(cString: mkdtemp(buffer.baseAddress!))
    }
    let path = directory + "/key.pem"
    defer {
      unsafe unlink(path)
      unsafe rmdir(directory)
    }
    let key = try PrivateKey.generate()
    try key.write(to: path)
    var status = stat()
    #expect(unsafe stat(path, &status) == 0)
    #expect(status.st_mode & 0o777 == 0o600)
    #expect(try PrivateKey(contentsOf: path).keyHash == key.keyHash)

    let second = try PrivateKey.generate()
    let error = #expect(throws: CryptoError.self) { try second.write(to: path) }
    #expect(error?.kind == .system(EEXIST))
    #expect(try PrivateKey(contentsOf: path).keyHash == key.keyHash)
    try second.write(to: path, replacing: true)
    #expect(try PrivateKey(contentsOf: path).keyHash == second.keyHash)
    #expect(throws: CryptoError.self) { try AtomicFile.read(path, limit: 10) }
  }

  @Test func directoriesAreMadeWithTheirParents() throws {
    let base = "/tmp/crypto-tests-\(Hex.encode(try Random.bytes(8)))"
    let path = base + "/a/b/"
    defer { for directory in [path, base + "/a", base] { unsafe rmdir(directory) } }
    try AtomicFile.makeDirectory(path)
    try AtomicFile.makeDirectory(path)
    var status = stat()
    #expect(unsafe stat(path, &status) == 0)
    #expect(status.st_mode & 0o777 == 0o700)
    #expect(throws: CryptoError.self) { try AtomicFile.makeDirectory("/proc/none/x") }
  }

  @Test func keyHashesHaveAText() throws {
    let hash = try PrivateKey.generate().keyHash
    #expect(KeyHash(hash.description) == hash)
    #expect(KeyHash(hash.hex) == hash)
    #expect(KeyHash(hash.bytes) == hash)
    #expect(KeyHash("sha256:" + String(hash.hex.dropLast())) == nil)
    #expect(KeyHash("sha1:" + hash.hex) == nil)
    #expect(KeyHash(String(hash.hex.dropLast()) + "g") == nil)
  }
}
