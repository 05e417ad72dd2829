import Crypto
import FuzzDriver

/// Certificates, requests and keys from peers and files: what is read is written and read again the same, one key has
/// one hash, and a certificate is only of who has signed it.
@main enum CertificatesTarget: FuzzTarget {
  static func run(_ bytes: UnsafeBufferPointer<UInt8>) {
    var script = Script(bytes)
    let kind = script.byte()
    let rest = [UInt8](script.rest())
    if kind & 1 == 0 { readDER(rest) } else { readPEM(String(decoding: rest, as: UTF8.self)) }
  }

  private static func readDER(_ der: [UInt8]) {
    if let certificate = try? Certificate(der: der) { judge(certificate) }
    if let request = try? CertificateRequest(der: der) { judge(request) }
    if let key = try? PublicKey(der: der) {
      check((try? PublicKey(der: key.der)) == key, "a key is read as it is written")
      check(!key.isValid(signature: der, of: [1]), "no key is its own signature")
    }
    _ = authority.publicKey.isValid(signature: der, of: [1, 2, 3])
  }

  private static func readPEM(_ text: String) {
    if let certificate = try? Certificate(pem: text) { judge(certificate) }
    if let request = try? CertificateRequest(pem: text) { judge(request) }
    if let key = try? PrivateKey(pem: text) {
      guard let pem = try? key.pem() else { return check(false, "a key can be written") }
      check((try? PrivateKey(pem: pem))?.keyHash == key.keyHash, "a key is read as it is written")
      if let signature = try? key.sign([1, 2]) {
        check(key.publicKey.isValid(signature: signature, of: [1, 2]), "a key's own signature")
        check(!key.publicKey.isValid(signature: signature, of: [1, 3]), "of nothing else")
      }
    }
  }

  private static func judge(_ certificate: Certificate) {
    // What was read may have been written in another way than DER has it; written again it stays the same.
    guard let again = try? Certificate(der: certificate.der) else {
      return check(false, "what was written can be read")
    }
    check(again == certificate, "a certificate is read as it is written")
    check((try? Certificate(pem: certificate.pem)) == certificate, "in PEM as well")
    check(certificate.keyHash == certificate.publicKey.keyHash, "the key's own hash")
    check(!certificate.isValid(at: certificate.notAfter &+ 1) || certificate.notAfter == .max, "it ends")
    if certificate.isIssued(by: issuer) {
      // Whoever changes a byte of what is signed has no signature.
      check(issued.contains { $0.publicKey == certificate.publicKey }, "the authority has signed what it has signed")
    }
    _ = certificate.isIssued(by: certificate)
  }

  private static func judge(_ request: CertificateRequest) {
    check((try? CertificateRequest(der: request.der)) == request, "a request is read as it is written")
    check((try? CertificateRequest(pem: request.pem)) == request, "in PEM as well")
  }

  // The same keys in each run, so that the corpus goes on being good: they stand in the seeds' own PEM.
  private static let authority: PrivateKey = {
    guard let key = try? PrivateKey(pem: authorityPEM) else { fatalError("the authority's key") }
    return key
  }()

  private static let issuer: Certificate = {
    guard let certificate = try? Certificate(pem: issuerPEM) else { fatalError("the authority's certificate") }
    return certificate
  }()

  private static let issued: [Certificate] = {
    guard let certificate = try? Certificate(pem: issuedPEM) else { fatalError("the issued certificate") }
    return [issuer, certificate]
  }()

  static var seeds: [[UInt8]] {
    var seeds: [[UInt8]] = [[1] + Array(authorityPEM.utf8)]
    for certificate in issued {
      seeds.append([0] + certificate.der)
      seeds.append([1] + Array(certificate.pem.utf8))
    }
    seeds.append([0] + authority.publicKey.der)
    if let request = try? CertificateRequest(pem: requestPEM) {
      seeds.append([0] + request.der)
      seeds.append([1] + Array(request.pem.utf8))
    }
    if let signature = try? authority.sign([1, 2, 3]) { seeds.append([0] + signature) }
    return seeds
  }
}
