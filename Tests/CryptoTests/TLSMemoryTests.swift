import Crypto
import Testing

@Suite struct TLSMemoryTests {
  @Test(arguments: [TLSContext.Version.tls12, .tls13])
  func bothEndsSeeEachOther(version: TLSContext.Version) throws {
    let (one, other) = (try Party("client"), try Party("server"))
    let client = try TLSContext(
      .client, credentials: one.credentials, alpn: ["b/1", "a/1"], versions: version...version)
    let server = try TLSContext(.server, credentials: other.credentials, alpn: ["a/1", "c/1"])
    var pair = try MemoryPair(client, server)
    let early = pair.client.peerKeyHash
    #expect(early == nil)
    try pair.handshake()

    let (seenByClient, seenByServer) = (pair.client.peerKeyHash, pair.server.peerKeyHash)
    #expect(seenByClient == other.key.keyHash)
    #expect(seenByServer == one.key.keyHash)
    let certificate = pair.server.peerCertificate
    #expect(certificate == one.certificate)
    let agreed = (pair.client.alpn, pair.server.alpn, pair.client.version, pair.server.version)
    #expect(agreed == ("a/1", "a/1", version, version))
    let cipher = pair.client.cipher
    #expect(
      cipher == (version == .tls13 ? "TLS_AES_256_GCM_SHA384" : "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"))
  }

  @Test(arguments: [TLSContext.Version.tls12, .tls13])
  func exportersAgreeOnLabelAndContextOnly(version: TLSContext.Version) throws {
    let pair = try connected(version)
    let mine = try pair.client.exportKeyingMaterial(label: "EXPORTER-test", context: [1, 2], count: 88)
    let theirs = try pair.server.exportKeyingMaterial(label: "EXPORTER-test", context: [1, 2], count: 88)
    let otherContext = try pair.server.exportKeyingMaterial(label: "EXPORTER-test", context: [1, 3], count: 88)
    let noContext = try pair.server.exportKeyingMaterial(label: "EXPORTER-test", context: [], count: 88)
    let otherLabel = try pair.server.exportKeyingMaterial(label: "EXPORTER-text", context: [1, 2], count: 88)
    #expect(bytes(mine).count == 88)
    #expect(mine.equals(theirs))
    #expect(!mine.equals(otherContext) && !mine.equals(noContext) && !mine.equals(otherLabel))
  }

  @Test func whatFollowsFinishedIsKept() throws {
    let one = try Party("client")
    let client = try TLSContext(.client, credentials: one.credentials, versions: .tls13 ... .tls13)
    let server = try TLSContext(
      .server, credentials: try Party("server").credentials, versions: .tls13 ... .tls13)
    var pair = try MemoryPair(client, server)
    let records: [UInt8] = [0x17, 3, 3, 0, 20] + (0..<20)
    pair.extraFromClient = records
    try pair.handshake()
    let kept = pair.server.surplus()
    #expect(kept == records)
    let again = pair.server.surplus()
    let other = pair.client.surplus()
    #expect(again.isEmpty && other.isEmpty)
  }

  @Test(arguments: [TLSContext.Version.tls12, .tls13])
  func dataGoesBothWaysInAnySplit(version: TLSContext.Version) throws {
    var pair = try connected(version)
    let text = (0..<50_000).map { UInt8(truncatingIfNeeded: $0 &* 13) }
    var sent = 0
    while sent < text.count {
      guard case .bytes(let count) = try pair.client.write(Array(text[sent...])) else { break }
      sent += count
    }
    let wire = pair.client.takeOutput()
    var got: [UInt8] = []
    var start = 0
    while start < wire.count {
      let end = min(start + 777, wire.count)
      try pair.server.receive(Array(wire[start..<end]))
      start = end
      while case (.bytes, let bytes) = try pair.server.readOnce() { got += bytes }
    }
    #expect(got == text)
    // No ticket or other message follows the handshake.
    let answer = pair.server.takeOutput()
    #expect(answer.isEmpty)
  }

  @Test func endAndCutAreToldApart() throws {
    var pair = try connected(.tls13)
    let progress = try pair.client.shutdown()
    #expect(progress == .done)
    try pair.server.receive(pair.client.takeOutput())
    let (ended, _) = try pair.server.readOnce()
    #expect(ended == .closedByPeer)

    var cut = try connected(.tls13)
    cut.server.receiveEnd()
    var error: TLSError?
    do throws(TLSError) { _ = try cut.server.readOnce() } catch let failure { error = failure }
    #expect(error == .truncated)
  }

  @Test func halfClosedConnectionsStillReceive() throws {
    var pair = try connected(.tls13)
    _ = try pair.client.shutdown()
    try pair.server.receive(pair.client.takeOutput())
    let (ended, _) = try pair.server.readOnce()
    #expect(ended == .closedByPeer)
    _ = try pair.server.write([1, 2, 3])
    _ = try pair.server.shutdown()
    try pair.client.receive(pair.server.takeOutput())
    let (_, bytes) = try pair.client.readOnce()
    #expect(bytes == [1, 2, 3])
    let (closed, _) = try pair.client.readOnce()
    #expect(closed == .closedByPeer)
    #expect(throws: TLSError.self) { _ = try pair.client.write([1]) }
  }

  @Test func clientsWithoutACertificateAreRefusedWhereOneIsRequired() throws {
    let server = try TLSContext(.server, credentials: try Party("server").credentials)
    var pair = try MemoryPair(try TLSContext(.client, versions: .tls12 ... .tls12), server)
    var error: TLSError?
    do { try pair.handshake() } catch let failure as TLSError { error = failure }
    guard case .certificate = error else {
      Issue.record("\(String(describing: error))")
      return
    }
    // The client learns of it by an alert.
    try pair.client.receive(pair.server.takeOutput())
    var alert: TLSError?
    do throws(TLSError) { _ = try pair.client.handshake() } catch let failure { alert = failure }
    guard case .peerAlert = alert else {
      Issue.record("\(String(describing: alert))")
      return
    }
  }

  @Test func certificatesAreOptionalWhereRequested() throws {
    let server = try TLSContext(.server, credentials: try Party("server").credentials, peer: .requested)
    var pair = try MemoryPair(try TLSContext(.client), server)
    try pair.handshake()
    let hash = pair.server.peerKeyHash
    #expect(hash == nil)
  }

  @Test func nothingInCommonIsRefused() throws {
    let party = try Party("server")
    let server = try TLSContext(
      .server, credentials: party.credentials, peer: .anonymous, alpn: ["x"], versions: .tls13 ... .tls13)
    var protocols = try MemoryPair(try TLSContext(.client, alpn: ["y"]), server)
    #expect(throws: TLSError.self) { try protocols.handshake() }
    var versions = try MemoryPair(try TLSContext(.client, versions: .tls12 ... .tls12), server)
    #expect(throws: TLSError.self) { try versions.handshake() }
  }

  @Test func garbageIsThePeersFault() throws {
    let server = try TLSContext(.server, credentials: try Party("server").credentials)
    var connection = try TLSConnection(server)
    try connection.receive(Array("GET / HTTP/1.1\r\n\r\n".utf8))
    var error: TLSError?
    do throws(TLSError) { _ = try connection.handshake() } catch let failure { error = failure }
    guard case .peerMisbehaved = error else {
      Issue.record("\(String(describing: error))")
      return
    }
  }

  @Test func credentialsThatDoNotFitAreRefused() throws {
    let (one, other) = (try Party("a"), try Party("b"))
    #expect(throws: CryptoError.self) {
      try TLSContext(.server, credentials: .init(one.certificate, key: other.key))
    }
    #expect(throws: CryptoError.self) { try TLSContext(.client, alpn: [""]) }
  }

  func connected(_ version: TLSContext.Version) throws -> MemoryPair {
    let (one, other) = (try Party("client"), try Party("server"))
    var pair = try MemoryPair(
      try TLSContext(.client, credentials: one.credentials, versions: version...version),
      try TLSContext(.server, credentials: other.credentials, versions: version...version))
    try pair.handshake()
    return pair
  }
}
