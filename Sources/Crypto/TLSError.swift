internal import COpenSSL

/// A TLS connection that failed, by whose fault it is. None can be used any further.
public enum TLSError: Error, Hashable, Sendable, CustomStringConvertible {
  /// The peer gave up and said why: an alert (RFC 8446 section 6.2).
  case peerAlert(UInt8, reason: String)
  /// The stream ended without close_notify: cut off, perhaps by someone in between.
  case truncated
  /// The peer sent what TLS doesn't allow here, or nothing in common can be agreed on.
  case peerMisbehaved(reason: String)
  /// The peer's certificate is missing or can't be read.
  case certificate(reason: String)
  /// The socket failed with this `errno`.
  case system(Int32)
  /// This side asked for what can't be done.
  case local(CryptoError)

  /// The alert of a server that speaks none of the protocols that were offered (RFC 7301 section 3.2).
  public static let noApplicationProtocol: UInt8 = 120

  public var description: String {
    switch self {
    case .peerAlert(let code, let reason): "the peer refused: \(reason) (alert \(code))"
    case .truncated: "the connection was cut"
    case .peerMisbehaved(let reason): "the peer broke the protocol: \(reason)"
    case .certificate(let reason): "the peer's certificate: \(reason)"
    case .system(let code): "system error \(code)"
    case .local(let error): "\(error)"
    }
  }

  /// Sorts what SSL_get_error reported. `errno` is the one of the call that failed; 0 if none was set.
  static func failed(_ operation: String, _ kind: Int32, errno code: Int32) -> TLSError {
    let error = ERR_get_error()
    ERR_clear_error()
    if error == 0 || copenssl_error_library(error) == ERR_LIB_SYS {
      if kind == SSL_ERROR_SYSCALL { return code == 0 ? .truncated : .system(code) }
      return .local(CryptoError(operation, .library))
    }
    let reason = CryptoError.reason(error)
    guard copenssl_error_library(error) == ERR_LIB_SSL else {
      return .local(CryptoError(operation, .library, code: error, reason: reason))
    }
    let number = copenssl_error_reason(error)
    switch number {
    case SSL_R_UNEXPECTED_EOF_WHILE_READING:
      return .truncated
    case SSL_R_CERTIFICATE_VERIFY_FAILED, SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE, SSL_R_BAD_SIGNATURE,
      SSL_R_UNKNOWN_CERTIFICATE_TYPE:
      return .certificate(reason: reason)
    case SSL_R_UNINITIALIZED, SSL_R_PROTOCOL_IS_SHUTDOWN, SSL_R_SHUTDOWN_WHILE_IN_INIT,
      SSL_R_NO_CERTIFICATE_ASSIGNED, SSL_R_BAD_LENGTH:
      return .local(CryptoError(operation, .misuse, code: error, reason: reason))
    case SSL_AD_REASON_OFFSET...(SSL_AD_REASON_OFFSET + 255):
      return .peerAlert(UInt8(truncatingIfNeeded: number - SSL_AD_REASON_OFFSET), reason: reason)
    default:
      return .peerMisbehaved(reason: reason)
    }
  }
}
