import Control
import Crypto
import Glibc
import Testing

@Suite struct IdentityTests {
  /// A directory that is removed with its files.
  struct Scratch: ~Copyable {
    let path: String

    init() {
      var template = Array("/tmp/control-tests-XXXXXX".utf8CString)
      path = unsafe template.withUnsafeMutableBufferPointer { buffer in
        unsafe String(cString: mkdtemp(buffer.baseAddress!))
      }
    }

    deinit {
      for name in ["key.pem", "certificate.pem", "gate.pin"] { unsafe unlink("\(path)/\(name)") }
      unsafe rmdir(path)
    }
  }

  @Test func identitiesAreMadeOnceAndLoaded() throws {
    let scratch = Scratch()
    let key = scratch.path + "/key.pem"
    let certificate = scratch.path + "/certificate.pem"
    let profile = CertificateProfile(commonName: "plant", usage: .peer, now: 1_800_000_000)
    let made = try Identity.create(profile, keyPath: key, certificatePath: certificate)
    let loaded = try Identity.load(keyPath: key, certificatePath: certificate)
    #expect(loaded.keyHash == made.keyHash)
    #expect(loaded.certificate == made.certificate)
    #expect(throws: CryptoError.self) {
      try Identity.create(profile, keyPath: key, certificatePath: certificate)
    }
    let again = try Identity.load(keyPath: key, certificatePath: certificate)
    #expect(again.keyHash == made.keyHash)
    #expect(throws: CryptoError.self) {
      try Identity(key: PrivateKey.generate(), certificate: made.certificate)
    }
  }

  @Test func pinsAreNotReplacedUnasked() throws {
    let scratch = Scratch()
    let path = scratch.path + "/gate.pin"
    let (one, other) = (try PrivateKey.generate().keyHash, try PrivateKey.generate().keyHash)
    try Pin.write(one, to: path)
    #expect(try Pin.load(path) == one)
    #expect(throws: CryptoError.self) { try Pin.write(other, to: path) }
    #expect(try Pin.load(path) == one)
    try Pin.write(other, to: path, replacing: true)
    #expect(try Pin.load(path) == other)
  }
}
