public import Control
public import Crypto

/// A domain of the tree.
public struct Domain: Hashable, Sendable, Codable {
  public var path: DomainPath
  /// Seconds since 1970.
  public var created: Int64

  public init(path: DomainPath, created: Int64) {
    self.path = path
    self.created = created
  }
}

/// Somebody who may log in.
public struct Account: Hashable, Sendable, Codable {
  /// A LinkManager that the account has logged in from.
  public struct PC: Hashable, Sendable, Codable {
    public var key: KeyHash
    public var name: String
    /// Seconds since 1970.
    public var since: Int64

    public init(key: KeyHash, name: String, since: Int64) {
      self.key = key
      self.name = name
      self.since = since
    }
  }

  /// One-time codes for its logins.
  public struct OneTimeCode: Hashable, Sendable, Codable {
    public var secret: OneTimeSecret
    /// Seconds since 1970.
    public var since: Int64
    /// The latest step of which a code was used: none of it or before is taken again.
    public var used: Int64?

    public init(secret: OneTimeSecret, since: Int64, used: Int64? = nil) {
      self.secret = secret
      self.since = since
      self.used = used
    }
  }

  public var name: String
  /// Where it is looked after, and whose objects it may be concerned with.
  public var domain: DomainPath
  /// Further domains whose objects it may be concerned with.
  public var joined: [DomainPath]
  public var role: AccountRole
  /// The text form of `PasswordHash`.
  public var password: String
  public var isEnabled: Bool
  /// Seconds since 1970: from then on it is as if disabled.
  public var expires: Int64?
  /// Seconds since 1970.
  public var created: Int64
  /// The oldest first.
  public var pcs: [PC]
  /// `nil` where none were enrolled.
  public var oneTimeCode: OneTimeCode?

  public init(
    name: String, domain: DomainPath = .root, joined: [DomainPath] = [], role: AccountRole = .linkUser,
    password: String,
    isEnabled: Bool = true, expires: Int64? = nil, created: Int64, pcs: [PC] = []
  ) {
    self.name = name
    self.domain = domain
    self.joined = joined
    self.role = role
    self.password = password
    self.isEnabled = isEnabled
    self.expires = expires
    self.created = created
    self.pcs = pcs
  }

  /// Whether what lies in a domain may concern it at all.
  public func reaches(_ other: DomainPath) -> Bool {
    domain.contains(other) || joined.contains { $0.contains(other) }
  }

  /// Whether it may be used at a time, in seconds since 1970.
  public func isValid(at time: Int64) -> Bool { isEnabled && (expires.map { time < $0 } ?? true) }
}

/// That accounts of a role need one-time codes to log in, in a domain and below.
public struct CodeRule: Hashable, Sendable, Codable {
  public var domain: DomainPath
  public var role: AccountRole

  public init(domain: DomainPath, role: AccountRole) {
    self.domain = domain
    self.role = role
  }
}

/// Accounts that rules can speak of together.
public struct AccountGroup: Hashable, Sendable, Codable {
  public var name: String
  public var domain: DomainPath
  /// In alphabetical order.
  public var members: [String]

  public init(name: String, domain: DomainPath, members: [String] = []) {
    self.name = name
    self.domain = domain
    self.members = members
  }
}

/// A place with a SiteManager.
public struct AccessSite: Hashable, Sendable, Codable {
  /// A code that is out. Gone once it was used.
  public struct Enrolment: Hashable, Sendable, Codable {
    public var secretHash: SHA256Text
    /// Seconds since 1970.
    public var expires: Int64

    public init(secretHash: SHA256Text, expires: Int64) {
      self.secretHash = secretHash
      self.expires = expires
    }
  }

  public var name: String
  /// `nil` while it waits for somebody to attach it: nobody can reach it.
  public var domain: DomainPath?
  /// Seconds since 1970.
  public var created: Int64
  public var enrolment: Enrolment?
  /// `nil` until a SiteManager has enrolled.
  public var key: KeyHash?
  public var enrolled: Int64?

  public init(
    name: String, domain: DomainPath?, created: Int64, enrolment: Enrolment? = nil, key: KeyHash? = nil,
    enrolled: Int64? = nil
  ) {
    self.name = name
    self.domain = domain
    self.created = created
    self.enrolment = enrolment
    self.key = key
    self.enrolled = enrolled
  }
}

/// A hash as 64 hexadecimal digits.
public typealias SHA256Text = String
