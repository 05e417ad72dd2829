public import Crypto

/// A grant as it travels: the very bytes that were signed, and GateManager's signature over them.
public struct SignedGrant: Hashable, Sendable {
  /// The claims as JSON.
  public let bytes: [UInt8]
  /// ECDSA over SHA-256, DER form.
  public let signature: [UInt8]

  /// Seconds that the clocks of a site and its GateManager may differ.
  public static let clockSkew: Int64 = 120

  public init(bytes: [UInt8], signature: [UInt8]) {
    self.bytes = bytes
    self.signature = signature
  }

  /// Reads the claims once all of these hold; none of them is read before the signature was checked.
  /// - Parameters:
  ///   - key: GateManager's grant key, known since enrolment.
  ///   - site: this site's own key.
  ///   - clientKey: the key that the LinkManager has proven end to end.
  ///   - session: the session that the grant came with.
  ///   - now: seconds since 1970.
  public func verify(
    with key: PublicKey, site: KeyHash, clientKey: KeyHash, session: SessionID, now: Int64,
    skew: Int64 = SignedGrant.clockSkew
  ) throws(GrantError) -> Grant {
    let grant = try claims(signedBy: key)
    guard grant.siteKey == site else { throw .wrongSite }
    guard grant.clientKey == clientKey else { throw .wrongClient }
    guard grant.session == session else { throw .wrongSession }
    guard grant.notBefore <= Self.saturating(now, skew) else { throw .notYetValid(from: grant.notBefore) }
    guard Self.saturating(now, -skew) <= grant.notAfter else { throw .expired(at: grant.notAfter) }
    return grant
  }

  /// The claims, checked for their signature only: what there is to know before the LinkManager has shown its key.
  public func claims(signedBy key: PublicKey) throws(GrantError) -> Grant {
    guard key.isValid(signature: signature, of: bytes) else { throw .badSignature }
    let form: Form = try Self.read(bytes)
    guard form.version == Grant.version else { throw .unsupportedVersion(form.version) }
    if let claim = form.critical?.first(where: { !Grant.knownClaims.contains($0) }) { throw .unsupportedClaim(claim) }
    let grant: Grant = try Self.read(bytes)
    // What is said to be critical can't be left out: nothing there would mean no limit.
    if grant.critical?.contains(Grant.portsClaim) == true, grant.ports == nil {
      throw .malformed(field: Grant.portsClaim, reason: "missing")
    }
    return grant
  }

  private static func saturating(_ time: Int64, _ difference: Int64) -> Int64 {
    let (sum, overflow) = time.addingReportingOverflow(difference)
    return overflow ? (difference < 0 ? .min : .max) : sum
  }

  /// What has to be understood before the rest is read. Critical are claims of `Grant.knownClaims` alone, or it is refused.
  private struct Form: Decodable {
    let version: Int
    let critical: [String]?
  }

  private static func read<Value: Decodable>(_ bytes: [UInt8]) throws(GrantError) -> Value {
    do throws(JSONError) {
      return try JSON.decode(Value.self, from: bytes)
    } catch {
      throw .malformed(field: error.field, reason: error.reason)
    }
  }

  /// The context that both ends put into the exporter of their keys: ends that differ about the session or the grant
  /// get different keys and can't talk. 32 bytes.
  public func exporterContext(session: SessionID) throws(CryptoError) -> [UInt8] {
    try SHA256.hash(lengthPrefixed: [Array("relayvpn session 1".utf8), session.bytes, bytes]).bytes
  }
}

extension SignedGrant: Codable {
  private enum CodingKeys: String, CodingKey { case claims, signature }

  /// An object of two texts in Base64.
  public init(from decoder: any Decoder) throws {
    let container = try decoder.container(keyedBy: CodingKeys.self)
    func bytes(_ key: CodingKeys) throws -> [UInt8] {
      guard let bytes = Base64.decode(try container.decode(String.self, forKey: key)) else {
        throw DecodingError.dataCorruptedError(forKey: key, in: container, debugDescription: "not Base64")
      }
      return bytes
    }
    self.init(bytes: try bytes(.claims), signature: try bytes(.signature))
  }

  public func encode(to encoder: any Encoder) throws {
    var container = encoder.container(keyedBy: CodingKeys.self)
    try container.encode(Base64.encode(bytes), forKey: .claims)
    try container.encode(Base64.encode(signature), forKey: .signature)
  }
}
