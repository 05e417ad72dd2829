import Crypto
import Testing

@Suite struct CertificateTests {
  static let now: Int64 = 1_800_000_000

  @Test func authorityIssuesForARequest() throws {
    let authorityKey = try PrivateKey.generate()
    let authority = try Certificate.selfSigned(
      CertificateProfile(commonName: "Gate", usage: .authority, now: Self.now), key: authorityKey)
    let key = try PrivateKey.generate()
    let request = try CertificateRequest(key: key, commonName: "what I want to be called")
    let received = try CertificateRequest(pem: request.pem)
    #expect(received == request)
    #expect(received.commonName == "what I want to be called")

    let profile = CertificateProfile(
      commonName: "site-1", organizationalUnit: "site", usage: .peer, now: Self.now)
    let certificate = try authority.issue(profile, for: received.publicKey, key: authorityKey)
    #expect(certificate.keyHash == key.keyHash)
    #expect(certificate.commonName == "site-1")
    #expect(certificate.organizationalUnit == "site")
    #expect(certificate.notBefore == Self.now - 3600)
    #expect(certificate.notAfter == Self.now + CertificateProfile.lifetime)
    #expect(certificate.isValid(at: Self.now))
    #expect(!certificate.isValid(at: Self.now - 3601))
    #expect(!certificate.isValid(at: Self.now + CertificateProfile.lifetime + 1))
    #expect(certificate.isIssued(by: authority))
    #expect(authority.isIssued(by: authority))
    #expect(!authority.isIssued(by: certificate))
    #expect(try Certificate(pem: certificate.pem) == certificate)
    #expect(try Certificate(der: certificate.der) == certificate)
  }

  @Test func anotherAuthorityOfTheSameNameIsNotTheIssuer() throws {
    let profile = CertificateProfile(commonName: "Gate", usage: .authority, now: Self.now)
    let key = try PrivateKey.generate()
    let authority = try Certificate.selfSigned(profile, key: key)
    let impostor = try Certificate.selfSigned(profile, key: PrivateKey.generate())
    let leaf = try authority.issue(
      CertificateProfile(commonName: "pc", usage: .client, now: Self.now), for: PrivateKey.generate().publicKey,
      key: key)
    #expect(leaf.isIssued(by: authority))
    #expect(!leaf.isIssued(by: impostor))
    #expect(throws: CryptoError.self) {
      try impostor.issue(profile, for: PrivateKey.generate().publicKey, key: key)
    }
  }

  @Test func serversCarryTheirNames() throws {
    let key = try PrivateKey.generate()
    let names: [CertificateProfile.SubjectName] = [.dns("gate.example"), .address([192, 0, 2, 1])]
    let certificate = try Certificate.selfSigned(
      CertificateProfile(commonName: "gate", usage: .server(names), now: Self.now), key: key)
    // The names stand in DER as tag, size and bytes: dNSName [2], iPAddress [7].
    #expect(contains(certificate.der, [0x82, 12] + Array("gate.example".utf8)))
    #expect(contains(certificate.der, [0x87, 4, 192, 0, 2, 1]))
    for bad in [.dns("a name"), .dns(""), .address([1, 2, 3])] as [CertificateProfile.SubjectName] {
      #expect(throws: CryptoError.self) {
        try Certificate.selfSigned(
          CertificateProfile(commonName: "gate", usage: .server([bad]), now: Self.now), key: key)
      }
    }
  }

  func contains(_ bytes: [UInt8], _ part: [UInt8]) -> Bool {
    bytes.indices.contains { bytes[$0...].starts(with: part) }
  }

  @Test func serialsDiffer() throws {
    let key = try PrivateKey.generate()
    let profile = CertificateProfile(commonName: "x", usage: .client, now: Self.now)
    #expect(try Certificate.selfSigned(profile, key: key) != Certificate.selfSigned(profile, key: key))
  }

  @Test(arguments: ["", String(repeating: "n", count: 65)])
  func namesOfTheWrongSizeAreRefused(name: String) throws {
    let key = try PrivateKey.generate()
    #expect(throws: CryptoError.self) { try CertificateRequest(key: key, commonName: name) }
  }

  @Test func changedRequestsAreRefused() throws {
    let request = try CertificateRequest(key: PrivateKey.generate(), commonName: "abcdefgh")
    var refused = 0
    for index in request.der.indices {
      var changed = request.der
      changed[index] ^= 1
      do { _ = try CertificateRequest(der: changed) } catch { refused += 1 }
    }
    #expect(refused == request.der.count)
    #expect(throws: CryptoError.self) { try CertificateRequest(der: request.der + [0]) }
    #expect(throws: CryptoError.self) { try CertificateRequest(der: Array(request.der.dropLast())) }
  }

  @Test func garbageIsMalformed() {
    let garbage: [[UInt8]] = [[], [0], [0x30, 0x82, 0xFF, 0xFF], Array(repeating: 0x30, count: 300)]
    for bytes in garbage {
      #expect(throws: CryptoError.self) { try Certificate(der: bytes) }
      #expect(throws: CryptoError.self) { try PublicKey(der: bytes) }
      #expect(throws: CryptoError.self) { try Certificate(pem: String(decoding: bytes, as: UTF8.self)) }
    }
  }
}
