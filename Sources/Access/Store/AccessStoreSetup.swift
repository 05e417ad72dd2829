extension AccessStore {
  /// Makes ROOT in a store that has nothing yet, with what a GateManager had before there was a store: accounts reach all
  /// sites, as they did; so each gets a rule that says so.
  ///
  /// - Parameter time: microseconds since 1970.
  /// - Returns: false if the store has been set up before; then it is left as it is.
  public func setUp(
    accounts: [Account] = [], sites: [AccessSite] = [], time: Int64
  ) throws(AccessStoreError) -> Bool {
    guard state.domains.isEmpty else { return false }
    let result: Result<Bool, Never> = try transaction(time: time) { state in
      guard state.domains.isEmpty else { return ([], [], false) }
      let now = floorDiv(time, 1_000_000)
      var changes: [AccessChange] = [.putDomain(Domain(path: .root, created: now))]
      for (index, account) in accounts.enumerated() {
        changes.append(.putAccount(account))
        changes.append(
          .putRule(
            AccessRule(
              id: state.nextRule + Int64(index), subject: .account(account.name), domain: account.domain, created: now))
        )
      }
      changes += sites.map { .putSite($0) }
      var events = [AuditEvent(.created, account: Actor.host.text)]
      if !accounts.isEmpty || !sites.isEmpty {
        var event = AuditEvent(.imported, account: Actor.host.text)
        event.object = "\(accounts.count) accounts, \(sites.count) sites"
        events.append(event)
      }
      return (changes, events, true)
    }
    return result.get()
  }
}
