import Crypto

/// A key with a certificate of its own.
struct Party {
  let key: PrivateKey
  let certificate: Certificate

  init(_ name: String) throws {
    key = try PrivateKey.generate()
    certificate = try Certificate.selfSigned(
      CertificateProfile(commonName: name, usage: .peer, now: 1_800_000_000), key: key)
  }

  var credentials: TLSContext.Credentials { TLSContext.Credentials(certificate, key: key) }
}

/// Two connections over memory, and the bytes between them.
struct MemoryPair: ~Copyable {
  var client: TLSConnection
  var server: TLSConnection
  /// Bytes that the client sends in the same read as the end of its handshake.
  var extraFromClient: [UInt8] = []

  init(_ client: TLSContext, _ server: TLSContext) throws {
    let one = try TLSConnection(client)
    let other = try TLSConnection(server)
    self.client = one
    self.server = other
  }

  mutating func handshake() throws {
    var done = (false, false)
    for _ in 0..<10 where !(done.0 && done.1) {
      if !done.0 { done.0 = try client.handshake() == .done }
      var toServer = client.takeOutput()
      if done.0 {
        toServer += extraFromClient
        extraFromClient = []
      }
      try server.receive(toServer.span)
      if !done.1 { done.1 = try server.handshake() == .done }
      let toClient = server.takeOutput()
      try client.receive(toClient.span)
    }
    guard done.0, done.1 else { throw Stuck() }
  }

  struct Stuck: Error {}
}

extension TLSConnection {
  mutating func write(_ bytes: [UInt8]) throws(TLSError) -> WriteResult { try write(bytes.span) }

  /// One read of up to 16 KiB.
  mutating func readOnce() throws(TLSError) -> (ReadResult, [UInt8]) {
    var bytes = [UInt8](repeating: 0, count: 16384)
    var span = bytes.mutableSpan
    let result = try read(into: &span)
    guard case .bytes(let count) = result else { return (result, []) }
    return (result, Array(bytes[..<count]))
  }

  mutating func receive(_ bytes: [UInt8]) throws(CryptoError) { try receive(bytes.span) }
}
