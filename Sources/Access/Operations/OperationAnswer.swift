public import Crypto

/// What an operation gives.
public enum OperationAnswer: Hashable, Sendable, Codable {
  case done
  case domains([DomainRow])
  case accounts([AccountRow])
  case groups([AccountGroup])
  case sites([SiteRow])
  case rules([AccessRule])
  case rule(AccessRule.ID)
  /// An enrolment code, and until when it is good in seconds since 1970.
  case code(String, expires: Int64)
  /// For an authenticator app; shown once.
  case oneTimeSecret(uri: String)
  case explanation(isAllowed: Bool, text: String)
  case audit([AuditEntry])
  /// Where the audit stands, or what is wrong with it.
  case verified(AuditHead)
  case flawed(number: Int64, text: String)

  public struct DomainRow: Hashable, Sendable, Codable {
    public var path: DomainPath
    /// Directly in it.
    public var sites: Int
    public var accounts: Int
    /// Roles that need one-time codes here, by this domain or one above.
    public var codeRoles: [AccountRole]
  }

  /// An account without its secrets.
  public struct AccountRow: Hashable, Sendable, Codable {
    public var name: String
    public var domain: DomainPath
    public var joined: [DomainPath]
    public var role: AccountRole
    public var isEnabled: Bool
    public var expires: Int64?
    public var created: Int64
    public var groups: [String]
    public var hasOneTimeCode: Bool
    /// Whether it can't log in without.
    public var requiresOneTimeCode: Bool
    /// PCs by name, the oldest login first.
    public var pcs: [String]
  }

  public struct SiteRow: Hashable, Sendable, Codable {
    public var name: String
    public var domain: DomainPath?
    public var created: Int64
    public var codeExpires: Int64?
    public var key: KeyHash?
    public var enrolled: Int64?
  }
}
