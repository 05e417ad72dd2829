import Control
import Crypto
import Foundation

@testable import Access

/// What most tests begin with.
enum Plant {
  static let now: Int64 = 1_780_000_000
  static let plc = AgentDescription(
    name: "plc", target: .device(.v4), tcp: [PortRange(80)!, PortRange(502)!], udp: [PortRange(161)!], icmp: true)
  static let panel = AgentDescription(name: "panel", target: .device(.v4), tcp: [PortRange(5900)!])

  static func path(_ text: String) -> DomainPath { DomainPath(text)! }

  /// Two companies; in each a site, a group, and an account of each role.
  static func state(_ more: [AccessChange] = []) -> AccessState {
    var state = AccessState()
    for path in ["ROOT", "ROOT.A", "ROOT.A.Line1", "ROOT.B", "ROOT.Empty", "ROOT.A.Empty", "ROOT.B.Empty"] {
      state.apply(.putDomain(Domain(path: Self.path(path), created: now)))
    }
    for (company, letter) in [("ROOT.A", "a"), ("ROOT.B", "b")] {
      for role in AccountRole.allCases {
        state.apply(
          .putAccount(
            Account(
              name: "\(letter)-\(role.rawValue.lowercased())", domain: path(company), role: role, password: "-",
              created: now)))
      }
      state.apply(
        .putAccount(
          Account(
            name: "\(letter)-ann", domain: path(company), password: "-", created: now,
            pcs: [
              .init(key: KeyHash([UInt8](repeating: letter.utf8.first!, count: 32))!, name: "laptop", since: now)
            ])))
      if var ann = state.accounts["\(letter)-ann"] {
        ann.oneTimeCode = Account.OneTimeCode(
          secret: OneTimeSecret([UInt8](repeating: letter.utf8.first!, count: 20))!, since: now)
        state.apply(.putAccount(ann))
      }
      state.apply(
        .putGroup(AccountGroup(name: "\(letter)-staff", domain: path(company), members: ["\(letter)-linkuser"])))
      state.apply(
        .putSite(
          AccessSite(
            name: "\(letter)-north", domain: path(company == "ROOT.A" ? "ROOT.A.Line1" : company), created: now,
            key: KeyHash([UInt8](repeating: letter.utf8.first! + 100, count: 32)), enrolled: now)))
      state.apply(
        .putRule(
          AccessRule(id: state.nextRule, subject: .account("\(letter)-ann"), domain: path(company), created: now)))
    }
    state.apply(.putCodeRule(CodeRule(domain: path("ROOT.A"), role: .domainObserver)))
    state.apply(.putSite(AccessSite(name: "waiting", domain: nil, created: now)))
    state.apply(more)
    return state
  }

  /// All that makes this state.
  static func changes(_ state: AccessState) -> [AccessChange] {
    state.domains.values.sorted { $0.path < $1.path }.map { .putDomain($0) }
      + state.accounts.values.map { .putAccount($0) } + state.groups.values.map { .putGroup($0) }
      + state.sites.values.map { .putSite($0) } + state.rules.values.map { .putRule($0) }
      + state.codeRules.map { .putCodeRule($0) }
  }
}

/// A directory that goes with the test.
final class TemporaryDirectory {
  let path: String

  init() throws {
    path = "/tmp/relayvpn-access-\(Hex.encode(try Random.bytes(8)))"
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: false)
  }

  deinit { try? FileManager.default.removeItem(atPath: path) }

  var store: String { "\(path)/access.sqlite" }
}
