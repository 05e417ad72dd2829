/// Every bound of what a GateManager keeps about people, sites and rules, in one place.
public enum AccessLimits {
  /// Accounts, groups, sites, domains and rules: of each kind at most.
  public static let records = 10_000
  /// From ROOT to the deepest domain.
  public static let domainDepth = 16
  /// Bytes of one domain's own name.
  public static let domainNameBytes = 32
  /// Bytes of a note or a reason.
  public static let textBytes = 256
  /// Further domains of an account.
  public static let joinedDomains = 64
  /// Groups that one account is in: a decision looks for the rules of each.
  public static let groupsPerAccount = 64
  /// Members of a group.
  public static let groupMembers = 1000
  /// PCs that one account may be logged in from; the oldest is forgotten.
  public static let pcsPerAccount = 16
  /// Agents that a rule names, and its port ranges of one protocol.
  public static let ruleAgents = 256
  public static let rulePorts = 64
  /// Weekly slots of a rule.
  public static let slots = 64
  /// Rules that one decision may have to look at, at most: more for one subject and domain aren't made.
  public static let rulesPerSubjectAndDomain = 256

  /// Bytes of a file of the time zone database: the largest has less than 4 KiB.
  public static let zoneFileBytes = 64 << 10
  /// Bytes of a time zone's name.
  public static let zoneNameBytes = 64
  /// How far the next change of a schedule is looked for, in days: a week, and what a clock's change may add.
  public static let scheduleHorizonDays: Int64 = 16

  /// Entries of the audit that one answer holds, and bytes of their bodies.
  public static let auditPage = 1000
  static let auditPageBytes = 4 << 20
  /// Bytes of an entry's body: of texts and lists as they stand there, which takes six bytes for a control character.
  static let auditEntryBytes = 16 << 10
  /// Of these, for each text, and for the names of agents.
  static let auditTextBytes = 512
  static let auditAgentsBytes = 8 << 10
  /// Of one agent's name, before that.
  static let auditAgentNameBytes = 64
  /// Rules that an entry names.
  static let auditRules = 128
}
