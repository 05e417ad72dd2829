internal import Control
internal import Crypto
internal import Foundation
internal import GRDB

/// Changes as rows, and rows as a state.
enum AccessRows {
  static func write(_ change: AccessChange, to db: Database) throws {
    switch change {
    case .putDomain(let domain):
      try db.execute(
        sql: "INSERT INTO domain VALUES(?, ?, ?) ON CONFLICT(path) DO UPDATE SET created = excluded.created",
        arguments: [domain.path.description, domain.path.parent?.description, domain.created])
    case .removeDomain(let path):
      try db.execute(sql: "DELETE FROM domain WHERE path = ?", arguments: [path.description])
    case .putAccount(let account): try write(account, to: db)
    case .removeAccount(let name): try db.execute(sql: "DELETE FROM account WHERE name = ?", arguments: [name])
    case .putGroup(let group):
      try db.execute(
        sql: "INSERT INTO account_group VALUES(?, ?) ON CONFLICT(name) DO UPDATE SET domain = excluded.domain",
        arguments: [group.name, group.domain.description])
      try db.execute(sql: "DELETE FROM group_member WHERE name = ?", arguments: [group.name])
      for member in group.members {
        try db.execute(sql: "INSERT INTO group_member VALUES(?, ?)", arguments: [group.name, member])
      }
    case .removeGroup(let name): try db.execute(sql: "DELETE FROM account_group WHERE name = ?", arguments: [name])
    case .putSite(let site):
      try db.execute(
        sql: """
          INSERT INTO site VALUES(?, ?, ?, ?, ?, ?, ?) ON CONFLICT(name) DO UPDATE SET domain = excluded.domain,
          created = excluded.created, code = excluded.code, code_expires = excluded.code_expires, key = excluded.key,
          enrolled = excluded.enrolled
          """,
        arguments: [
          site.name, site.domain?.description, site.created, site.enrolment?.secretHash, site.enrolment?.expires,
          site.key.map { blob($0.bytes) }, site.enrolled,
        ])
    case .removeSite(let name): try db.execute(sql: "DELETE FROM site WHERE name = ?", arguments: [name])
    case .putRule(let rule): try write(rule, to: db)
    case .removeRule(let id): try db.execute(sql: "DELETE FROM access_rule WHERE id = ?", arguments: [id])
    case .putCodeRule(let rule):
      try db.execute(
        sql: "INSERT OR IGNORE INTO code_rule VALUES(?, ?)",
        arguments: [rule.domain.description, rule.role.rawValue])
    case .removeCodeRule(let rule):
      try db.execute(
        sql: "DELETE FROM code_rule WHERE domain = ? AND role = ?",
        arguments: [rule.domain.description, rule.role.rawValue])
    }
  }

  private static func write(_ account: Account, to db: Database) throws {
    try db.execute(
      sql: """
        INSERT INTO account VALUES(?, ?, ?, ?, ?, ?, ?) ON CONFLICT(name) DO UPDATE SET domain = excluded.domain,
        role = excluded.role, password = excluded.password, enabled = excluded.enabled, expires = excluded.expires,
        created = excluded.created
        """,
      arguments: [
        account.name, account.domain.description, account.role.rawValue, account.password, account.isEnabled,
        account.expires, account.created,
      ])
    try db.execute(sql: "DELETE FROM account_joined WHERE account = ?", arguments: [account.name])
    for domain in account.joined {
      try db.execute(
        sql: "INSERT INTO account_joined VALUES(?, ?)", arguments: [account.name, domain.description])
    }
    try db.execute(sql: "DELETE FROM account_totp WHERE account = ?", arguments: [account.name])
    if let code = account.oneTimeCode {
      try db.execute(
        sql: "INSERT INTO account_totp VALUES(?, ?, ?, ?)",
        arguments: [account.name, blob(code.secret.bytes), code.since, code.used])
    }
    try db.execute(sql: "DELETE FROM account_pc WHERE account = ?", arguments: [account.name])
    for (position, pc) in account.pcs.enumerated() {
      try db.execute(
        sql: "INSERT INTO account_pc VALUES(?, ?, ?, ?, ?)",
        arguments: [blob(pc.key.bytes), account.name, position, pc.name, pc.since])
    }
  }

  private static func write(_ rule: AccessRule, to db: Database) throws {
    var (account, group): (String?, String?) = (nil, nil)
    switch rule.subject {
    case .account(let name): account = name
    case .group(let name): group = name
    }
    try db.execute(
      sql: """
        INSERT INTO access_rule VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT(id) DO UPDATE SET
        account = excluded.account, account_group = excluded.account_group, domain = excluded.domain,
        site = excluded.site, agents = excluded.agents, ports = excluded.ports, slots = excluded.slots,
        requires_reason = excluded.requires_reason, enabled = excluded.enabled, created = excluded.created
        """,
      arguments: [
        rule.id, account, group, rule.domain.description, rule.site, try AccessJSON.text(rule.agents),
        try AccessJSON.text(rule.ports), try AccessJSON.text(rule.slots), rule.requiresReason, rule.isEnabled,
        rule.created,
      ])
  }

  // MARK: Reading

  static func load(_ db: Database, zones: ZoneCatalog) throws -> AccessState {
    var state = AccessState(zones: zones)
    for row in try Row.fetchAll(db, sql: "SELECT path, created FROM domain ORDER BY path") {
      state.apply(.putDomain(Domain(path: try domain(row["path"]), created: row["created"])))
    }
    var joined: [String: [DomainPath]] = [:]
    for row in try Row.fetchAll(db, sql: "SELECT account, domain FROM account_joined ORDER BY account, domain") {
      joined[row["account"], default: []].append(try domain(row["domain"]))
    }
    var pcs: [String: [Account.PC]] = [:]
    for row in try Row.fetchAll(db, sql: "SELECT account, key, name, since FROM account_pc ORDER BY account, position")
    {
      pcs[row["account"], default: []].append(
        Account.PC(key: try key(row["key"]), name: row["name"], since: row["since"]))
    }
    let codes = try oneTimeCodes(db)
    for row in try Row.fetchAll(db, sql: "SELECT * FROM account") {
      let name: String = row["name"]
      var account = Account(
        name: name, domain: try domain(row["domain"]), joined: joined[name] ?? [],
        role: try role(row["role"], of: "account \(name)"), password: row["password"], isEnabled: row["enabled"],
        expires: row["expires"], created: row["created"], pcs: pcs[name] ?? [])
      account.oneTimeCode = codes[name]
      state.apply(.putAccount(account))
    }
    for row in try Row.fetchAll(db, sql: "SELECT domain, role FROM code_rule") {
      let path = try domain(row["domain"])
      state.apply(.putCodeRule(CodeRule(domain: path, role: try role(row["role"], of: "domain \(path)"))))
    }
    var members: [String: [String]] = [:]
    for row in try Row.fetchAll(db, sql: "SELECT name, account FROM group_member ORDER BY name, account") {
      members[row["name"], default: []].append(row["account"])
    }
    for row in try Row.fetchAll(db, sql: "SELECT * FROM account_group") {
      let name: String = row["name"]
      state.apply(
        .putGroup(AccountGroup(name: name, domain: try domain(row["domain"]), members: members[name] ?? [])))
    }
    for row in try Row.fetchAll(db, sql: "SELECT * FROM site") { state.apply(.putSite(try site(row))) }
    for row in try Row.fetchAll(db, sql: "SELECT * FROM access_rule ORDER BY id") {
      state.apply(.putRule(try rule(row)))
    }
    let last = try Int64.fetchOne(db, sql: "SELECT seq FROM sqlite_sequence WHERE name = 'access_rule'")
    state.nextRule = max(state.nextRule, (last ?? 0) + 1)
    return state
  }

  private static func oneTimeCodes(_ db: Database) throws -> [String: Account.OneTimeCode] {
    var codes: [String: Account.OneTimeCode] = [:]
    for row in try Row.fetchAll(db, sql: "SELECT account, secret, since, used FROM account_totp") {
      let name: String = row["account"]
      guard let secret = OneTimeSecret(Array(row["secret"] as Data)) else {
        throw AccessStoreError.malformed("the one-time codes of account \(name)")
      }
      codes[name] = Account.OneTimeCode(secret: secret, since: row["since"], used: row["used"])
    }
    return codes
  }

  private static func role(_ text: String, of owner: String) throws -> AccountRole {
    guard let role = AccountRole(rawValue: text) else { throw AccessStoreError.malformed("the role of \(owner)") }
    return role
  }

  private static func site(_ row: Row) throws -> AccessSite {
    let code: String? = row["code"]
    let expires: Int64? = row["code_expires"]
    let text: String? = row["domain"]
    let bytes: Data? = row["key"]
    return AccessSite(
      name: row["name"], domain: try text.map { try domain($0) }, created: row["created"],
      enrolment: code.map { AccessSite.Enrolment(secretHash: $0, expires: expires ?? 0) },
      key: try bytes.map { try key($0) }, enrolled: row["enrolled"])
  }

  private static func rule(_ row: Row) throws -> AccessRule {
    let account: String? = row["account"]
    let group: String? = row["account_group"]
    return AccessRule(
      id: row["id"], subject: account.map { .account($0) } ?? .group(group ?? ""), domain: try domain(row["domain"]),
      site: row["site"], agents: try AccessJSON.decode([String].self, from: row["agents"] as String?),
      ports: try AccessJSON.decode(PortLimits.self, from: row["ports"] as String?),
      slots: try AccessJSON.decode(WeeklySlots.self, from: row["slots"] as String?),
      requiresReason: row["requires_reason"], isEnabled: row["enabled"], created: row["created"])
  }

  private static func domain(_ text: String) throws -> DomainPath {
    guard let path = DomainPath(text) else { throw AccessStoreError.malformed("a domain's path") }
    return path
  }

  private static func key(_ bytes: Data) throws -> KeyHash {
    guard let key = KeyHash(Array(bytes)) else { throw AccessStoreError.malformed("a key's hash") }
    return key
  }

  static func blob(_ bytes: [UInt8]) -> Data { Data(bytes) }
}
