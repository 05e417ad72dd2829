import Primitives

/// An FTP control connection on its way through a session: what it says about data connections (RFC 959, RFC 2428).
///
/// A core without I/O, and the same at both ends. The LinkManager's end tells each side the addresses that are right
/// for it; the site's end lets nothing else through. Bytes that an end has taken come out again in `takeCommands` and
/// `takeReplies`, changed or not, in order. After the device has agreed to encrypt (RFC 4217), nothing is read.
package struct FTPControl: Sendable {
  package enum Event: Equatable, Sendable {
    /// The device accepts the client's data connection on this port of its own, 1024 or above.
    case passive(port: UInt16)
    /// The client accepts the device's data connection there. Commands are held until `decide`.
    case active(Endpoint)
    /// A command that names an endpoint couldn't be understood; the device gets one that it has to refuse.
    case spoiled
  }

  /// What becomes of a command that says where the client listens.
  package enum Decision: Equatable, Sendable {
    case keep
    /// Another endpoint is to be told to the device.
    case replace(Endpoint)
    /// The device is to refuse the command: its digits go on as zeros, which is no endpoint.
    case refuse
  }

  private var commands = FTPCommands()
  private var replies: FTPReplies
  /// PASV and EPSV that weren't answered: what isn't asked for opens nothing.
  private var awaited = 0

  /// Commands that a client may send ahead of their replies and that count; beyond them a reply is taken for unasked.
  private static let awaitedLimit = 4

  /// - Parameter alias: the address that the client knows the device by, at the LinkManager's end; `nil` at the site's,
  ///   where replies pass unchanged.
  package init(alias: IPAddress? = nil) {
    replies = FTPReplies(alias: alias)
  }

  // MARK: Bytes

  package mutating func receiveCommands(_ bytes: Span<UInt8>) {
    commands.receive(bytes)
  }

  package mutating func receiveReplies(_ bytes: Span<UInt8>) {
    replies.receive(bytes)
  }

  /// The client sends no more; what is held of its commands goes on.
  package mutating func finishCommands() {
    commands.finish()
  }

  /// The device sends no more; what is held of its replies goes on.
  package mutating func finishReplies() {
    replies.finish()
  }

  /// What may go on to the device.
  package mutating func takeCommands() -> [UInt8] { commands.takeOutput() }

  /// What may go on to the client.
  package mutating func takeReplies() -> [UInt8] { replies.takeOutput() }

  /// Bytes of commands that wait for their line's end or for a decision.
  package var heldCommands: Int { commands.heldCount }

  // MARK: Events

  /// To be asked after each of the above, until there is none.
  package mutating func nextEvent() -> Event? {
    while let event = commands.nextEvent() {
      switch event {
      case .active(let endpoint): return .active(endpoint)
      case .spoiled: return .spoiled
      case .passive: awaited = min(awaited + 1, Self.awaitedLimit)
      }
    }
    while let event = replies.nextEvent() {
      switch event {
      case .encrypted: commands.becomeOpaque()
      case .passive(let port):
        guard awaited > 0 else { continue }
        awaited -= 1
        // A well-known port is a service of its own, not a data connection (RFC 2577 section 5).
        if port >= Self.lowestDataPort { return .passive(port: port) }
      }
    }
    return nil
  }

  /// Settles the command behind `.active`, and lets go on what was held behind it.
  package mutating func decide(_ decision: Decision) {
    commands.decide(decision)
  }

  /// The lowest port of a data connection's listening side.
  package static let lowestDataPort: UInt16 = 1024
}
