internal import GRDB

/// The tables, by the versions that made them. A version that was released is never changed: the next one is added.
enum AccessSchema {
  static let migrator: DatabaseMigrator = {
    var migrator = DatabaseMigrator()
    migrator.registerMigration("1: people, sites, rules, audit") { db in try db.execute(sql: version1) }
    migrator.registerMigration("2: one-time codes") { db in try db.execute(sql: version2) }
    return migrator
  }()

  private static let version2 = """
    CREATE TABLE account_totp(
      account TEXT NOT NULL PRIMARY KEY REFERENCES account(name) ON DELETE CASCADE,
      secret BLOB NOT NULL,
      since INTEGER NOT NULL,
      used INTEGER) WITHOUT ROWID;
    CREATE TABLE code_rule(
      domain TEXT NOT NULL REFERENCES domain(path) ON DELETE CASCADE,
      role TEXT NOT NULL,
      PRIMARY KEY(domain, role)) WITHOUT ROWID;
    """

  private static let version1 = """
    CREATE TABLE domain(
      path TEXT NOT NULL PRIMARY KEY,
      parent TEXT REFERENCES domain(path),
      created INTEGER NOT NULL) WITHOUT ROWID;
    CREATE INDEX domain_parent ON domain(parent);

    CREATE TABLE account(
      name TEXT NOT NULL PRIMARY KEY,
      domain TEXT NOT NULL REFERENCES domain(path),
      role TEXT NOT NULL,
      password TEXT NOT NULL,
      enabled INTEGER NOT NULL,
      expires INTEGER,
      created INTEGER NOT NULL) WITHOUT ROWID;
    CREATE INDEX account_domain ON account(domain);
    CREATE TABLE account_joined(
      account TEXT NOT NULL REFERENCES account(name) ON DELETE CASCADE,
      domain TEXT NOT NULL REFERENCES domain(path),
      PRIMARY KEY(account, domain)) WITHOUT ROWID;
    CREATE INDEX account_joined_domain ON account_joined(domain);
    CREATE TABLE account_pc(
      key BLOB NOT NULL PRIMARY KEY,
      account TEXT NOT NULL REFERENCES account(name) ON DELETE CASCADE,
      position INTEGER NOT NULL,
      name TEXT NOT NULL,
      since INTEGER NOT NULL) WITHOUT ROWID;
    CREATE INDEX account_pc_account ON account_pc(account, position);

    CREATE TABLE account_group(
      name TEXT NOT NULL PRIMARY KEY,
      domain TEXT NOT NULL REFERENCES domain(path)) WITHOUT ROWID;
    CREATE INDEX account_group_domain ON account_group(domain);
    CREATE TABLE group_member(
      name TEXT NOT NULL REFERENCES account_group(name) ON DELETE CASCADE,
      account TEXT NOT NULL REFERENCES account(name) ON DELETE CASCADE,
      PRIMARY KEY(name, account)) WITHOUT ROWID;
    CREATE INDEX group_member_account ON group_member(account);

    CREATE TABLE site(
      name TEXT NOT NULL PRIMARY KEY,
      domain TEXT REFERENCES domain(path),
      created INTEGER NOT NULL,
      code TEXT UNIQUE,
      code_expires INTEGER,
      key BLOB UNIQUE,
      enrolled INTEGER) WITHOUT ROWID;
    CREATE INDEX site_domain ON site(domain);

    CREATE TABLE access_rule(
      id INTEGER PRIMARY KEY AUTOINCREMENT,
      account TEXT REFERENCES account(name) ON DELETE CASCADE,
      account_group TEXT REFERENCES account_group(name) ON DELETE CASCADE,
      domain TEXT NOT NULL REFERENCES domain(path),
      site TEXT REFERENCES site(name) ON DELETE CASCADE,
      agents TEXT,
      ports TEXT,
      slots TEXT,
      requires_reason INTEGER NOT NULL,
      enabled INTEGER NOT NULL,
      created INTEGER NOT NULL,
      CHECK((account IS NULL) <> (account_group IS NULL)));
    CREATE INDEX access_rule_account ON access_rule(account);
    CREATE INDEX access_rule_group ON access_rule(account_group);
    CREATE INDEX access_rule_domain ON access_rule(domain);
    CREATE INDEX access_rule_site ON access_rule(site);

    CREATE TABLE audit(
      number INTEGER PRIMARY KEY,
      body BLOB NOT NULL,
      hash BLOB NOT NULL);
    CREATE TABLE audit_seal(
      number INTEGER PRIMARY KEY,
      hash BLOB NOT NULL,
      signature BLOB NOT NULL);
    CREATE TRIGGER audit_is_kept BEFORE DELETE ON audit BEGIN SELECT RAISE(ABORT, 'the audit is append-only'); END;
    CREATE TRIGGER audit_stays BEFORE UPDATE ON audit BEGIN SELECT RAISE(ABORT, 'the audit is append-only'); END;

    CREATE TABLE setting(
      name TEXT NOT NULL PRIMARY KEY,
      value TEXT NOT NULL) WITHOUT ROWID;
    """
}
