import CLinux

/// Capabilities of a process (capabilities(7)).
public struct Capabilities: OptionSet, Hashable, Sendable {
  public let rawValue: UInt64

  public init(rawValue: UInt64) {
    self.rawValue = rawValue
  }

  /// Ports below 1024.
  public static let bindService = Capabilities(rawValue: 1 << 10)
  /// Addresses, routes, TUN and TAP devices.
  public static let networkAdministration = Capabilities(rawValue: 1 << 12)
  /// Raw and packet sockets.
  public static let rawNetwork = Capabilities(rawValue: 1 << 13)

  /// As in capabilities(7), without CAP_ and in small letters; others as numbers.
  public var names: [String] {
    (0..<64).filter { rawValue & (1 << $0) != 0 }.map { number in
      switch Capabilities(rawValue: 1 << UInt64(number)) {
      case .bindService: "net_bind_service"
      case .networkAdministration: "net_admin"
      case .rawNetwork: "net_raw"
      default: "\(number)"
      }
    }
  }

  /// What the calling thread may have in force.
  public static var permitted: Capabilities {
    var (effective, permitted, inheritable): (UInt64, UInt64, UInt64) = (0, 0, 0)
    guard unsafe clinux_capabilities(&effective, &permitted, &inheritable) == 0 else { return [] }
    return Capabilities(rawValue: permitted)
  }
}

/// What the calling thread, and every thread that it makes later, can't get back.
public enum Privileges {
  /// Keeps what it has of `kept`, gives up all other capabilities in all sets, and may gain none by running another
  /// program (PR_SET_NO_NEW_PRIVS).
  ///
  /// Other threads keep what they have: call it before there are any.
  ///
  /// - Returns: what is left.
  public static func renounce(keeping kept: Capabilities) throws(SystemError) -> Capabilities {
    let left = Capabilities.permitted.intersection(kept)
    clinux_clear_ambient()
    // The bounding set can be made smaller with CAP_SETPCAP only. Without it nothing can be gained by it either, once
    // there are no new privileges.
    var number: CInt = 0
    while case let state = clinux_is_bounding(number), state >= 0 {
      if state == 1, !left.contains(Capabilities(rawValue: 1 << UInt64(number))) { clinux_drop_bounding(number) }
      number += 1
    }
    try checked("prctl(PR_SET_NO_NEW_PRIVS)") { clinux_no_new_privileges() }
    try checked("capset") { clinux_set_capabilities(left.rawValue) }
    return left
  }

  /// No core dump, and no look into this process for other processes of its user.
  public static func hide() throws(SystemError) {
    try checked("prctl(PR_SET_DUMPABLE)") { clinux_no_dump() }
  }
}
