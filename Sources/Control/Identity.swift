public import Crypto

/// Who a host is: its private key, which never leaves it, and a certificate for it.
public struct Identity: Sendable {
  public let key: PrivateKey
  public var certificate: Certificate
  /// Those of the issuers that peers are shown.
  public var chain: [Certificate]

  public var keyHash: KeyHash { key.keyHash }

  /// Refuses a certificate of another key.
  public init(key: PrivateKey, certificate: Certificate, chain: [Certificate] = []) throws(CryptoError) {
    guard certificate.keyHash == key.keyHash else {
      throw CryptoError("identity", .misuse, reason: "the certificate is for another key")
    }
    self.key = key
    self.certificate = certificate
    self.chain = chain
  }

  public var credentials: TLSContext.Credentials {
    TLSContext.Credentials(certificate, chain: chain, key: key)
  }

  /// Reads both files.
  public static func load(keyPath: String, certificatePath: String) throws(CryptoError) -> Identity {
    try Identity(
      key: PrivateKey(contentsOf: keyPath), certificate: Certificate(contentsOf: certificatePath))
  }

  /// Makes a key and a certificate that is signed with it, and writes both; neither file may be there yet.
  public static func create(
    _ profile: CertificateProfile, keyPath: String, certificatePath: String
  ) throws(CryptoError) -> Identity {
    let key = try PrivateKey.generate()
    let identity = try Identity(key: key, certificate: Certificate.selfSigned(profile, key: key))
    try identity.write(keyPath: keyPath, certificatePath: certificatePath)
    return identity
  }

  /// Writes the key for its owner's eyes only, and the certificate.
  public func write(keyPath: String, certificatePath: String, replacing: Bool = false) throws(CryptoError) {
    try key.write(to: keyPath, replacing: replacing)
    try certificate.write(to: certificatePath, replacing: replacing)
  }
}

/// A file that holds the one key that a peer must have.
public enum Pin {
  /// Reads the text form of a key hash; an error of kind `.malformed` if there is something else.
  public static func load(_ path: String) throws(CryptoError) -> KeyHash {
    var text = String(decoding: try AtomicFile.read(path, limit: 4096), as: UTF8.self)
    while text.last?.isWhitespace == true { text.removeLast() }
    guard let hash = KeyHash(text) else { throw CryptoError("pin", .malformed, reason: path) }
    return hash
  }

  /// Pins a key. To replace a pin is to trust someone else: never done unasked.
  public static func write(_ hash: KeyHash, to path: String, replacing: Bool = false) throws(CryptoError) {
    try AtomicFile.write(Array("\(hash)\n".utf8), to: path, permissions: 0o644, replacing: replacing)
  }
}
