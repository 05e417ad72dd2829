internal import COpenSSL

/// A cryptographic operation that failed: which one, whose fault, and what OpenSSL said.
public struct CryptoError: Error, Hashable, Sendable, CustomStringConvertible {
  /// Whose fault it is.
  public enum Kind: Hashable, Sendable {
    /// A tag or signature doesn't fit: the bytes were changed, or made with another key.
    case authentication
    /// Bytes or text from outside are not what they should be.
    case malformed
    /// The caller passed what the operation can't take, such as a key of the wrong size.
    case misuse
    /// A system call failed with this `errno`.
    case system(Int32)
    /// OpenSSL refused, for a reason of its own.
    case library
  }

  /// What was attempted, in a word or two.
  public let operation: String
  public let kind: Kind
  /// OpenSSL's packed error code of the first entry in its queue; 0 if it gave none.
  public let code: UInt
  /// OpenSSL's reason, or more about the subject; may be empty.
  public let reason: String

  public init(_ operation: String, _ kind: Kind, code: UInt = 0, reason: String = "") {
    self.operation = operation
    self.kind = kind
    self.code = code
    self.reason = reason
  }

  public var description: String {
    var text = "\(operation): "
    switch kind {
    case .authentication: text += "authentication failed"
    case .malformed: text += "malformed"
    case .misuse: text += "misuse"
    case .system(let code): text += "system error \(code)"
    case .library: text += "refused by OpenSSL"
    }
    return reason.isEmpty ? text : "\(text) (\(reason))"
  }

  /// Takes the first entry of this thread's OpenSSL queue and clears the rest: what is left behind would be
  /// blamed on the next TLS call.
  static func last(_ operation: String, _ kind: Kind = .library) -> CryptoError {
    let code = ERR_get_error()
    ERR_clear_error()
    return CryptoError(operation, kind, code: code, reason: reason(code))
  }

  static func reason(_ code: UInt) -> String {
    guard code != 0, let text = unsafe ERR_reason_error_string(code) else { return "" }
    return unsafe String(cString: text)
  }
}

/// Turns OpenSSL's 1 for success into nothing and all else into an error.
func check(_ operation: String, _ result: Int32) throws(CryptoError) {
  guard result == 1 else { throw .last(operation) }
}
