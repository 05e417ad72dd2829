/// Names and bounds of the control protocol.
public enum ControlProtocol {
  /// What `Hello.version` says. A message type or field may be added without changing it.
  public static let version = 1
  /// ALPN of a control connection.
  public static let alpn = "relayvpn-control/1"
  /// ALPN of a data connection up to its switch to raw.
  public static let dataALPN = "relayvpn-data/1"

  /// Bytes of a message's JSON text: room for `agentLimit` agents with all that is known about them.
  public static let messageLimit = 256 * 1024
  /// Agents of one site.
  public static let agentLimit = 256
  /// Port ranges of one agent and protocol.
  public static let portRangeLimit = 64
  /// Bytes of a name, which also has to fit a certificate's common name.
  public static let nameLimit = 64
  /// Bytes of a text meant for people.
  public static let textLimit = 1024
}

/// How the protocols that a peer offers stand to ours.
public enum ProtocolAge: Hashable, Sendable {
  case earlier, later
  /// Those of something else.
  case foreign

  /// - Parameter names: as in ALPN, such as `relayvpn-control/2`.
  public init(of names: [String]) {
    let versions = names.compactMap { name -> Int? in
      let parts = name.split(separator: "/", omittingEmptySubsequences: false)
      guard parts.count == 2, parts[0] == "relayvpn-control" || parts[0] == "relayvpn-data" else { return nil }
      return Int(parts[1])
    }
    // The latest that it speaks: of two that differ, one is older.
    guard let latest = versions.max() else {
      self = .foreign
      return
    }
    self = latest > ControlProtocol.version ? .later : .earlier
  }
}

/// What a peer of the GateManager is.
public enum Role: String, Hashable, Sendable, Codable {
  case linkManager = "link"
  case siteManager = "site"
}

/// How an agent is doing, as users see it.
public enum AgentState: String, Hashable, Sendable, Codable, CaseIterable {
  case starting = "STARTING"
  case idle = "IDLE"
  case up = "UP"
  case down = "DOWN"
  /// GateManager has not acknowledged it yet.
  case wait = "WAIT"
  /// A log tunnel's client without its master.
  case notConnected = "N/C"
  case error = "ERROR"
}
