public import Crypto

/// A one-time code that binds a new SiteManager to its GateManager: a person reads it from one and types it into the
/// other.
///
///     44 characters of Crockford's base32 in 11 groups of 4, 5 bits each
///     version (2 bits) | secret (80) | start of the GateManager key's hash (128) | check (10)
///
/// The secret proves to GateManager who is calling; the key hash proves to the caller, before it says anything, that it
/// has reached that GateManager and nobody in between.
public struct EnrolmentCode: Hashable, Sendable {
  /// Random bytes that only the two ends know.
  public let secret: [UInt8]
  /// The first 16 bytes of the hash of GateManager's key.
  public let gateKeyStart: [UInt8]

  public static let secretSize = 10
  public static let gateKeyStartSize = 16

  private static let version = 0
  private static let dataDigits = 42
  private static let checkDigits = 2
  private static let groupSize = 4

  /// A fresh code.
  public init(gateKey: KeyHash) throws(CryptoError) {
    secret = try Random.bytes(Self.secretSize)
    gateKeyStart = Array(gateKey.bytes.prefix(Self.gateKeyStartSize))
  }

  /// What GateManager stores instead of the code.
  public static func hash(secret: [UInt8]) throws(CryptoError) -> SHA256.Digest {
    try SHA256.hash(lengthPrefixed: [Array("relayvpn enrolment 1".utf8), secret])
  }

  /// Whether this is the key that the code was made for.
  public func matches(gateKey: KeyHash) -> Bool {
    let start = Array(gateKey.bytes.prefix(Self.gateKeyStartSize))
    return constantTimeEquals(start.span, gateKeyStart.span)
  }

  /// The code in upper case, its groups joined by dashes.
  public var text: String {
    var digits: [UInt8] = []
    // 2 + 80 + 128 bits make 42 digits of 5 bits exactly.
    var buffer = UInt32(Self.version)
    var bits = 2
    for byte in secret + gateKeyStart {
      buffer = buffer << 8 | UInt32(byte)
      bits += 8
      while bits >= 5 {
        bits -= 5
        digits.append(UInt8(buffer >> UInt32(bits)) & 31)
        buffer &= (1 << UInt32(bits)) - 1
      }
    }
    let check = Self.check(digits)
    digits += [UInt8(check >> 5), UInt8(check & 31)]
    var text = ""
    for (index, digit) in digits.enumerated() {
      if index > 0, index % Self.groupSize == 0 { text += "-" }
      text.unicodeScalars.append(Unicode.Scalar(Self.alphabet[Int(digit)]))
    }
    return text
  }

  /// Reads a code as people type it: either case, dashes and spaces anywhere or nowhere, O for 0, I and L for 1.
  public init(_ text: String) throws(EnrolmentCodeError) {
    var digits: [UInt8] = []
    for (position, character) in text.enumerated() {
      if character == "-" || character.isWhitespace { continue }
      guard let digit = Self.digit(character) else {
        throw .character(character, position: position + 1)
      }
      guard digits.count < 4 * (Self.dataDigits + Self.checkDigits) else { break }
      digits.append(digit)
    }
    let size = Self.dataDigits + Self.checkDigits
    guard digits.count == size else { throw .length(found: digits.count, expected: size) }
    let data = Array(digits[..<Self.dataDigits])
    guard Self.check(data) == UInt32(digits[size - 2]) << 5 | UInt32(digits[size - 1]) else { throw .typingError }
    guard data[0] >> 3 == Self.version else { throw .version(Int(data[0] >> 3)) }

    var bytes: [UInt8] = []
    var buffer = UInt32(data[0] & 7)
    var bits = 3
    for digit in data.dropFirst() {
      buffer = buffer << 5 | UInt32(digit)
      bits += 5
      if bits >= 8 {
        bits -= 8
        bytes.append(UInt8(truncatingIfNeeded: buffer >> UInt32(bits)))
        buffer &= (1 << UInt32(bits)) - 1
      }
    }
    secret = Array(bytes.prefix(Self.secretSize))
    gateKeyStart = Array(bytes.dropFirst(Self.secretSize))
  }

  /// A weighted sum modulo the largest prime of 10 bits: it catches every single wrong character and every two that
  /// changed places, because neither the weights nor the digits differ by a multiple of the prime.
  private static func check(_ digits: [UInt8]) -> UInt32 {
    var sum: UInt32 = 0
    for (index, digit) in digits.enumerated() { sum += UInt32(index + 1) * UInt32(digit) }
    return sum % 1021
  }

  private static let alphabet = Array("0123456789ABCDEFGHJKMNPQRSTVWXYZ".utf8)

  private static func digit(_ character: Character) -> UInt8? {
    guard var byte = character.asciiValue else { return nil }
    if byte >= UInt8(ascii: "a"), byte <= UInt8(ascii: "z") { byte -= 32 }
    switch byte {
    case UInt8(ascii: "O"): return 0
    case UInt8(ascii: "I"), UInt8(ascii: "L"): return 1
    default: return alphabet.firstIndex(of: byte).map { UInt8($0) }
    }
  }
}

extension EnrolmentCode: CustomStringConvertible {
  /// Says nothing: codes must not end up in logs. See `text`.
  public var description: String { "enrolment code" }
}

/// What is wrong with the text of an enrolment code.
public enum EnrolmentCodeError: Error, Hashable, Sendable, CustomStringConvertible {
  /// Characters without dashes and spaces.
  case length(found: Int, expected: Int)
  /// `position` counts from 1, dashes and spaces included.
  case character(Character, position: Int)
  /// All characters may stand in a code, but not these together.
  case typingError
  /// Made by a version of GateManager that this code doesn't know.
  case version(Int)

  public var description: String {
    switch self {
    case .length(let found, let expected): "the code has \(found) characters instead of \(expected)"
    case .character(let character, let position):
      "\"\(character)\" at position \(position) can't be part of a code"
    case .typingError: "the code has a typing error"
    case .version(let version): "the code is of version \(version), which is not supported"
    }
  }
}
