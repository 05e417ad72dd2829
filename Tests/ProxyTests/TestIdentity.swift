import Crypto
import Kernel

/// A key with a certificate of its own, for one end of a test.
struct TestIdentity: Sendable {
  let credentials: TLSContext.Credentials
  var keyHash: KeyHash { credentials.key.keyHash }

  init(_ name: String) throws {
    let key = try PrivateKey.generate()
    let profile = CertificateProfile(commonName: name, usage: .peer, now: Clock.unixSeconds)
    credentials = try TLSContext.Credentials(.selfSigned(profile, key: key), key: key)
  }
}
