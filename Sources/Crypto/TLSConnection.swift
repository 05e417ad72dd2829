internal import COpenSSL

/// One TLS connection, either over a socket or over memory.
///
/// Over a socket it never reads beyond the record that it needs, so that after both sides' close_notify the socket
/// can carry on with other bytes. Over memory the caller moves the bytes: `receive` what came, `takeOutput` what is
/// to be sent, after each call. One thread at a time; a socket is lent, not owned. A host must ignore SIGPIPE.
///
/// After an error only the alert in `takeOutput` is of use.
@safe public struct TLSConnection: ~Copyable, @unchecked Sendable {
  /// What has to happen before the same call makes progress.
  public enum Progress: Hashable, Sendable { case done, wantsRead, wantsWrite }

  public enum ReadResult: Hashable, Sendable {
    /// This many bytes, at least 1.
    case bytes(Int)
    case wantsRead, wantsWrite
    /// The peer's close_notify: nothing more will come, and nothing was cut off.
    case closedByPeer
  }

  public enum WriteResult: Hashable, Sendable {
    /// This many bytes were taken, perhaps not all. Over a socket they have been handed to the kernel.
    case bytes(Int)
    case wantsRead, wantsWrite
  }

  private let handle: TLSHandle
  private let isOverMemory: Bool
  private var closeNotifySent = false

  private var ssl: OpaquePointer { unsafe handle.pointer }

  /// A connection over a connected socket, blocking or not.
  /// - Parameters:
  ///   - descriptor: stays the caller's and must stay open.
  ///   - serverName: sent by a client to tell a server with many names which one is meant (RFC 6066); not an address.
  public init(_ context: TLSContext, descriptor: Int32, serverName: String? = nil) throws(CryptoError) {
    handle = try TLSHandle.make(context, serverName, descriptor: descriptor)
    isOverMemory = false
  }

  /// A connection over memory.
  public init(_ context: TLSContext, serverName: String? = nil) throws(CryptoError) {
    handle = try TLSHandle.make(context, serverName, descriptor: nil)
    isOverMemory = true
  }

  // MARK: Verbs

  /// Goes on with the handshake as far as the bytes at hand allow.
  public mutating func handshake() throws(TLSError) -> Progress {
    let result = unsafe prepared { unsafe SSL_do_handshake($0) }
    if result.value == 1 { return .done }
    switch result.kind {
    case SSL_ERROR_WANT_READ: return .wantsRead
    case SSL_ERROR_WANT_WRITE: return .wantsWrite
    case SSL_ERROR_ZERO_RETURN: throw .peerMisbehaved(reason: "close_notify in the handshake")
    case let kind: throw .failed("TLS handshake", kind, errno: result.errno)
    }
  }

  /// Reads application data into a buffer that isn't empty.
  public mutating func read(into bytes: inout MutableSpan<UInt8>) throws(TLSError) -> ReadResult {
    var count = 0
    let result = unsafe bytes.withUnsafeMutableBytes { buffer in
      unsafe prepared { unsafe SSL_read_ex($0, buffer.baseAddress, buffer.count, &count) }
    }
    if result.value == 1 { return .bytes(count) }
    switch result.kind {
    case SSL_ERROR_WANT_READ: return .wantsRead
    case SSL_ERROR_WANT_WRITE: return .wantsWrite
    case SSL_ERROR_ZERO_RETURN: return .closedByPeer
    case let kind: throw .failed("TLS read", kind, errno: result.errno)
    }
  }

  /// Writes application data. After `.wantsRead` or `.wantsWrite` the same bytes have to be written again first.
  public mutating func write(_ bytes: Span<UInt8>) throws(TLSError) -> WriteResult {
    guard bytes.count > 0 else { return .bytes(0) }
    var count = 0
    let result = unsafe bytes.withUnsafeBytes { buffer in
      unsafe prepared { unsafe SSL_write_ex($0, buffer.baseAddress, buffer.count, &count) }
    }
    if result.value == 1 { return .bytes(count) }
    switch result.kind {
    case SSL_ERROR_WANT_READ: return .wantsRead
    case SSL_ERROR_WANT_WRITE: return .wantsWrite
    case let kind: throw .failed("TLS write", kind, errno: result.errno)
    }
  }

  /// Sends close_notify: the end of this side's data. `.done` once it is sent, whether or not the peer's has come;
  /// reading goes on until `.closedByPeer`.
  public mutating func shutdown() throws(TLSError) -> Progress {
    // Once it is sent, SSL_shutdown(3) would read on, and throw away the peer's data.
    if closeNotifySent { return .done }
    let result = unsafe prepared { unsafe SSL_shutdown($0) }
    // 0: sent, the peer's is still to come. 1: both are through.
    if result.value >= 0 {
      closeNotifySent = true
      return .done
    }
    switch result.kind {
    case SSL_ERROR_WANT_READ: return .wantsRead
    case SSL_ERROR_WANT_WRITE: return .wantsWrite
    case let kind: throw .failed("TLS shutdown", kind, errno: result.errno)
    }
  }

  /// Calls with an empty error queue, as SSL_get_error(3) demands, and takes `errno` before anything changes it.
  private func prepared(_ call: (OpaquePointer) -> Int32) -> (value: Int32, kind: Int32, errno: Int32) {
    ERR_clear_error()
    copenssl_clear_errno()
    let value = unsafe call(ssl)
    if value == 1 { return (value, SSL_ERROR_NONE, 0) }
    let code = copenssl_errno()
    return (value, unsafe SSL_get_error(ssl, value), code)
  }

  // MARK: Memory

  /// Hands over bytes that came from the peer. Memory only.
  public mutating func receive(_ bytes: Span<UInt8>) throws(CryptoError) {
    guard isOverMemory, let incoming = unsafe SSL_get_rbio(ssl) else {
      throw CryptoError("TLS receive", .misuse, reason: "over a socket")
    }
    guard bytes.count > 0 else { return }
    var taken = 0
    let result = unsafe bytes.withUnsafeBytes { unsafe BIO_write_ex(incoming, $0.baseAddress, $0.count, &taken) }
    guard result == 1, taken == bytes.count else { throw .last("TLS receive") }
  }

  /// Says that nothing more will come from the peer: without its close_notify, the next call throws `.truncated`.
  public mutating func receiveEnd() {
    if isOverMemory, let incoming = unsafe SSL_get_rbio(ssl) { unsafe copenssl_bio_ended(incoming) }
  }

  /// The bytes to be sent to the peer. Memory only; empty over a socket.
  public mutating func takeOutput() -> [UInt8] {
    isOverMemory ? unsafe Self.drain(SSL_get_wbio(ssl)) : []
  }

  /// The bytes that came and that TLS has not read. After the handshake, these are what follows the peer's
  /// Finished. Memory only.
  public mutating func surplus() -> [UInt8] {
    isOverMemory ? unsafe Self.drain(SSL_get_rbio(ssl)) : []
  }

  private static func drain(_ bio: OpaquePointer?) -> [UInt8] {
    guard let bio = unsafe bio else { return [] }
    let waiting = unsafe BIO_ctrl_pending(bio)
    guard waiting > 0 else { return [] }
    return unsafe [UInt8](unsafeUninitializedCapacity: waiting) { buffer, count in
      _ = unsafe BIO_read_ex(bio, buffer.baseAddress, waiting, &count)
    }
  }

  // MARK: What was agreed

  public var isHandshakeDone: Bool { unsafe SSL_get_state(ssl) == TLS_ST_OK }

  /// Decrypted bytes that the next `read` gives without asking the socket, which may never be readable again.
  public var pending: Int { max(0, Int(unsafe SSL_pending(ssl))) }

  /// Whether the peer's close_notify was read.
  public var isClosedByPeer: Bool { unsafe SSL_get_shutdown(ssl) & SSL_RECEIVED_SHUTDOWN != 0 }

  /// The peer's certificate; `nil` if it has shown none.
  public var peerCertificate: Certificate? {
    guard let certificate = unsafe SSL_get1_peer_certificate(ssl) else { return nil }
    defer { unsafe X509_free(certificate) }
    return try? unsafe Certificate(certificate)
  }

  /// The hash of the key that the peer has proven to hold; `nil` before the end of the handshake or if the peer
  /// has shown no certificate.
  public var peerKeyHash: KeyHash? {
    guard isHandshakeDone, let certificate = unsafe SSL_get0_peer_certificate(ssl) else { return nil }
    guard let key = unsafe X509_get0_pubkey(certificate) else { return nil }
    return try? unsafe PublicKey(key).keyHash
  }

  /// The protocol that both sides speak (RFC 7301); `nil` if none was agreed on.
  public var alpn: String? {
    var name: UnsafePointer<UInt8>?
    var count: UInt32 = 0
    unsafe SSL_get0_alpn_selected(ssl, &name, &count)
    guard let start = unsafe name, count > 0 else { return nil }
    return unsafe String(decoding: UnsafeBufferPointer(start: start, count: Int(count)), as: UTF8.self)
  }

  /// The protocols that a client offered of which this server speaks none, which ended the handshake; of a list longer
  /// than 256 bytes, the first ones. Empty otherwise.
  public var refusedProtocols: [String] {
    guard let offered = unsafe copenssl_offered(ssl) else { return [] }
    let wire = unsafe withUnsafeBytes(of: offered.pointee.names) {
      unsafe Array($0.prefix(Int(offered.pointee.size)))
    }
    var names: [String] = []
    var start = 0
    while start < wire.count {
      let end = start + 1 + Int(wire[start])
      guard end <= wire.count else { break }
      names.append(String(decoding: wire[(start + 1)..<end], as: UTF8.self))
      start = end
    }
    return names
  }

  /// The name that a client asked a server for.
  public var serverName: String? {
    guard let name = unsafe SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name) else { return nil }
    return unsafe String(cString: name)
  }

  /// `nil` before the end of the handshake.
  public var version: TLSContext.Version? {
    isHandshakeDone ? TLSContext.Version(rawValue: Int(unsafe SSL_version(ssl))) : nil
  }

  /// The cipher suite's name as in the IANA registry; `nil` before it was agreed on.
  public var cipher: String? {
    guard let cipher = unsafe SSL_get_current_cipher(ssl), let name = unsafe SSL_CIPHER_standard_name(cipher) else {
      return nil
    }
    return unsafe String(cString: name)
  }

  /// Key material that only the two ends of this connection can compute (RFC 5705, RFC 8446 section 7.5).
  /// - Parameters:
  ///   - label: ASCII; tells one use from another.
  ///   - context: both ends must pass the same bytes to get the same key.
  ///   - count: bytes wanted.
  public borrowing func exportKeyingMaterial(
    label: String, context: [UInt8], count: Int
  ) throws(CryptoError) -> SecretBytes {
    guard isHandshakeDone else { throw CryptoError("TLS exporter", .misuse, reason: "no handshake yet") }
    let ssl = unsafe ssl
    return try unsafe SecretBytes(count: count) { out throws(CryptoError) in
      let name = Array(label.utf8CString)
      let result = unsafe name.withUnsafeBufferPointer { name in
        unsafe SSL_export_keying_material(
          ssl, out.bindMemory(to: UInt8.self).baseAddress, out.count, name.baseAddress, name.count - 1, context,
          context.count, 1)
      }
      try check("TLS exporter", result)
    }
  }
}

/// Owns an SSL, and keeps the context whose memory its callbacks read.
@safe struct TLSHandle: ~Copyable {
  let pointer: OpaquePointer
  private let context: TLSContext

  private init(owning pointer: OpaquePointer, _ context: TLSContext) {
    unsafe self.pointer = pointer
    self.context = context
  }

  /// - Parameter descriptor: a socket, or `nil` for memory.
  static func make(
    _ context: TLSContext, _ serverName: String?, descriptor: Int32?
  ) throws(CryptoError) -> TLSHandle {
    guard let made = unsafe SSL_new(context.pointer) else { throw .last("TLS") }
    let handle = unsafe TLSHandle(owning: made, context)
    if context.role == .client {
      unsafe SSL_set_connect_state(handle.pointer)
    } else {
      unsafe SSL_set_accept_state(handle.pointer)
    }
    if let serverName, unsafe copenssl_set_server_name(handle.pointer, serverName) != 1 {
      throw .last("TLS server name", .misuse)
    }
    if let descriptor {
      try check("TLS socket", unsafe SSL_set_fd(handle.pointer, descriptor))
    } else {
      try handle.useMemory()
    }
    return handle
  }

  private borrowing func useMemory() throws(CryptoError) {
    guard let incoming = unsafe BIO_new(BIO_s_mem()) else { throw .last("TLS memory") }
    guard let outgoing = unsafe BIO_new(BIO_s_mem()) else {
      unsafe BIO_free_all(incoming)
      throw .last("TLS memory")
    }
    unsafe copenssl_bio_open_ended(incoming)
    unsafe copenssl_bio_open_ended(outgoing)
    unsafe SSL_set_bio(pointer, incoming, outgoing)
  }

  deinit {
    unsafe copenssl_forget_offered(pointer)
    unsafe SSL_free(pointer)
  }
}
