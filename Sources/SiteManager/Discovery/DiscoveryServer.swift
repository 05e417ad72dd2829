import Control
import Framing
import Kernel
import Logging
import Proxy
import Synchronization

/// Answers discovery streams: each on a thread of its own, a few at once.
final class DiscoveryServer: Sendable {
  /// Conversations at once: each may send some 200 frames a second to the devices' network.
  static let limit = 4

  private let log: Logger
  private let open = Atomic<Int>(0)

  init(log: Logger) {
    self.log = log
  }

  /// Begins to answer a stream that the rules and the grant permit, and returns the session's end of it.
  ///
  /// - Parameters:
  ///   - current: what the site permits by now, asked before each answer: an agents file may change meanwhile.
  ///   - assigned: told of each device that was to be given a name or an address, and of what came of it.
  func answer(
    _ rule: SiteRule, session: SessionID, user: String, pc: String, current: @escaping @Sendable () -> SiteInterface?,
    assigned: @escaping @Sendable (String) -> Void = { _ in }
  ) throws(Refusal) -> OwnedDescriptor {
    guard open.add(1, ordering: .relaxed).newValue <= Self.limit else {
      open.subtract(1, ordering: .relaxed)
      throw Refusal(.tooMany, "\(Self.limit) searches for devices are under way at the site")
    }
    var log = log
    log[metadataKey: "session"] = "\(session)"
    log[metadataKey: "agent"] = "\(rule.agent)"
    log[metadataKey: "user"] = "\(user)"
    log[metadataKey: "pc"] = "\(pc)"
    do throws(SystemError) {
      let pair = try UnixSocket.pair()
      let conversation = Parcel(
        DiscoveryConversation(socket: pair.far, agent: rule.agent, log: log, current: current, assigned: assigned))
      _ = try Thread(name: "discovery") {
        if var conversation = conversation.open() { conversation.run() }
        self.open.subtract(1, ordering: .relaxed)
      }
      return pair.near
    } catch {
      open.subtract(1, ordering: .relaxed)
      throw Refusal(.siteError, "\(error)")
    }
  }
}
