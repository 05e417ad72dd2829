public import Crypto

/// What an account's one-time codes are made of: TOTP (RFC 6238) with HMAC-SHA-1, 30 s and six digits, which is the form
/// that every authenticator app knows.
public struct OneTimeSecret: Hashable, Sendable {
  /// Bytes of a fresh one: as many as the hash has, RFC 4226 section 4.
  public static let size = 20
  public static let digits = 6
  /// Seconds that a code is shown for.
  public static let period: Int64 = 30
  /// Steps before and after the present one whose codes are taken, too: a clock that is wrong, and somebody who types
  /// slowly (RFC 6238 section 5.2).
  public static let window: Int64 = 1
  private static let sizes = 16...64

  public let bytes: [UInt8]

  /// `nil` unless there are 16 to 64 bytes.
  public init?(_ bytes: [UInt8]) {
    guard Self.sizes.contains(bytes.count) else { return nil }
    self.bytes = bytes
  }

  /// A fresh one.
  public static func random() throws(CryptoError) -> OneTimeSecret {
    guard let secret = OneTimeSecret(try Random.bytes(size)) else { throw CryptoError("random", .library) }
    return secret
  }

  /// The step that a time lies in, in seconds since 1970.
  public static func step(at time: Int64) -> Int64 { max(0, time) / period }

  /// A step's code (RFC 4226 section 5.3).
  public func code(step: Int64) throws(CryptoError) -> String {
    let counter = stride(from: Int64(56), through: 0, by: -8).map { UInt8(truncatingIfNeeded: step >> $0) }
    let hash = try HMAC.authenticateSHA1(counter.span, key: bytes.span)
    let start = Int(hash[hash.count - 1] & 15)
    let number = hash[start..<start + 4].reduce(UInt32(0)) { $0 << 8 | UInt32($1) } & 0x7FFF_FFFF
    let text = "\(number % 1_000_000)"
    return String(repeating: "0", count: Self.digits - text.utf8.count) + text
  }

  public enum Verdict: Hashable, Sendable {
    /// It is this step's, which is used up by it.
    case valid(step: Int64)
    /// It was right, and somebody has used it, or a later one (RFC 6238 section 5.2).
    case used
    case wrong
  }

  /// Judges a code. Takes as long for a wrong one as for a right one.
  /// - Parameters:
  ///   - time: seconds since 1970.
  ///   - used: the latest step of which a code was used.
  public func judge(_ code: String, at time: Int64, used: Int64?) throws(CryptoError) -> Verdict {
    let typed = code.utf8.filter { $0 != UInt8(ascii: " ") }
    let present = Self.step(at: time)
    var verdict = Verdict.wrong
    for step in max(0, present - Self.window)...present + Self.window {
      guard constantTimeEquals(Array(try self.code(step: step).utf8).span, Array(typed).span) else { continue }
      // Two steps of the window may have the same code: one of them is enough.
      if step > used ?? -1 {
        if case .valid = verdict { continue }
        verdict = .valid(step: step)
      } else if verdict == .wrong {
        verdict = .used
      }
    }
    return verdict
  }

  /// For an app, mostly as a QR code: Google's key URI format.
  /// - Parameter issuer: whose account it is.
  public func uri(issuer: String, account: String) -> String {
    let (issuer, account) = (Self.escaped(issuer), Self.escaped(account))
    return "otpauth://totp/\(issuer):\(account)?secret=\(Base32.encode(bytes))&issuer=\(issuer)"
      + "&algorithm=SHA1&digits=\(Self.digits)&period=\(Self.period)"
  }

  /// RFC 3986 section 2.1: all but the unreserved characters.
  private static func escaped(_ text: String) -> String {
    var result: [UInt8] = []
    for byte in text.utf8 {
      switch byte {
      case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
        UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"),
        UInt8(ascii: "~"):
        result.append(byte)
      default: result += [UInt8(ascii: "%")] + Array(Hex.encode([byte]).uppercased().utf8)
      }
    }
    return String(decoding: result, as: UTF8.self)
  }
}

extension OneTimeSecret: Codable {
  /// A text in Base64.
  public init(from decoder: any Decoder) throws {
    self = try decodeText("secret", from: decoder) { Base64.decode($0).flatMap(OneTimeSecret.init) }
  }

  public func encode(to encoder: any Encoder) throws {
    try encodeText(Base64.encode(bytes), to: encoder)
  }
}

// It must not end up in logs with what holds it.
extension OneTimeSecret: CustomStringConvertible {
  public var description: String { "OneTimeSecret" }
}
