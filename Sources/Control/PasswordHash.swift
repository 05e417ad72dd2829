public import Crypto

/// What is stored of a password: scrypt (RFC 7914) over it and a random salt.
public struct PasswordHash: Hashable, Sendable {
  private let cost, blockSize, parallelism: UInt64
  private let salt, hash: [UInt8]

  // 32 MiB and some 100 ms: what OWASP's and RFC 7914's authors give for logins.
  private static let defaultCost: UInt64 = 32768
  private static let defaultBlockSize: UInt64 = 8
  private static let defaultParallelism: UInt64 = 1
  private static let saltSize = 16
  private static let hashSize = 32

  /// Hashes a new password; blocks for some 100 ms. Of `PasswordPolicy` only the maximum is enforced here.
  public init(hashing password: String) throws(CryptoError) {
    guard password.utf8.count <= PasswordPolicy.maximumBytes else {
      throw CryptoError("password", .misuse, reason: "too long")
    }
    cost = Self.defaultCost
    blockSize = Self.defaultBlockSize
    parallelism = Self.defaultParallelism
    salt = try Random.bytes(Self.saltSize)
    hash = try Self.derive(password, salt, cost, blockSize, parallelism)
  }

  /// Whether this is the password; blocks for some 100 ms and compares in constant time.
  public func verify(_ password: String) throws(CryptoError) -> Bool {
    let derived = try Self.derive(password, salt, cost, blockSize, parallelism)
    return constantTimeEquals(derived.span, hash.span) && password.utf8.count <= PasswordPolicy.maximumBytes
  }

  /// Takes as long as `verify`: for a user who doesn't exist, so that time doesn't tell.
  public static func verifyNobody(_ password: String) throws(CryptoError) {
    _ = try derive(
      password, [UInt8](repeating: 0, count: saltSize), defaultCost, defaultBlockSize, defaultParallelism)
  }

  private static func derive(
    _ password: String, _ salt: [UInt8], _ cost: UInt64, _ blockSize: UInt64, _ parallelism: UInt64
  ) throws(CryptoError) -> [UInt8] {
    // One that is too long is wrong whatever it is, and not worth more time than others.
    let bytes = Array(password.utf8.prefix(PasswordPolicy.maximumBytes))
    let key = try Scrypt.derive(
      password: bytes.span, salt: salt.span, cost: cost, blockSize: blockSize, parallelism: parallelism,
      count: hashSize)
    return key.withSpan { span in span.indices.map { span[$0] } }
  }
}

extension PasswordHash: LosslessStringConvertible {
  /// `scrypt$N$r$p$SALT$HASH`, the last two in Base64.
  public var description: String {
    "scrypt$\(cost)$\(blockSize)$\(parallelism)$\(Base64.encode(salt))$\(Base64.encode(hash))"
  }

  /// Reads the form of `description`; refuses parameters that would take too much memory or time.
  public init?(_ description: String) {
    let parts = description.split(separator: "$", omittingEmptySubsequences: false)
    guard parts.count == 6, parts[0] == "scrypt", let cost = UInt64(parts[1]), let blockSize = UInt64(parts[2]),
      let parallelism = UInt64(parts[3]), let salt = Base64.decode(parts[4]), let hash = Base64.decode(parts[5]),
      (2...(1 << 17)).contains(cost), cost & (cost - 1) == 0, (1...16).contains(blockSize),
      (1...4).contains(parallelism), (8...64).contains(salt.count), hash.count == Self.hashSize
    else { return nil }
    self.cost = cost
    self.blockSize = blockSize
    self.parallelism = parallelism
    self.salt = salt
    self.hash = hash
  }
}

/// What a password must be like.
public enum PasswordPolicy {
  /// Characters.
  public static let minimumCharacters = 12
  /// Bytes of UTF-8.
  public static let maximumBytes = 256
  /// Of lower case, upper case, digits and all else.
  public static let minimumClasses = 3

  public static func check(_ password: String) throws(PasswordPolicyError) {
    guard password.count >= minimumCharacters else { throw .tooShort(minimum: minimumCharacters) }
    guard password.utf8.count <= maximumBytes else { throw .tooLong(maximum: maximumBytes) }
    var classes: Set<Int> = []
    for character in password {
      classes.insert(character.isLowercase ? 0 : character.isUppercase ? 1 : character.isNumber ? 2 : 3)
    }
    guard classes.count >= minimumClasses else { throw .tooFewClasses(minimum: minimumClasses) }
  }
}

/// Why a password can't be set.
public enum PasswordPolicyError: Error, Hashable, Sendable, CustomStringConvertible {
  case tooShort(minimum: Int)
  case tooLong(maximum: Int)
  case tooFewClasses(minimum: Int)

  public var description: String {
    switch self {
    case .tooShort(let minimum): "a password needs at least \(minimum) characters"
    case .tooLong(let maximum): "a password may have \(maximum) bytes at most"
    case .tooFewClasses(let minimum):
      "a password needs at least \(minimum) of lower case, upper case, digits and other characters"
    }
  }
}
