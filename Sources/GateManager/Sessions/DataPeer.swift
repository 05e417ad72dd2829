import Control
import Primitives

/// The GateManager's side of one data connection: ticket, wait for the other end, leave TLS.
///
///     ticket ── attach ──▶ waiting ── both are there ──▶ leaving ── close_notify of both sides ──▶ raw
///
/// After our close_notify nothing is written, and after `attach` the peer has nothing to say but its own
/// close_notify: any byte of data would be one that crosses the switch, and ends the connection.
struct DataPeer: Sendable {
  enum Action: Hashable, Sendable {
    case redeem(Ticket)
    /// Send `attached`, then close_notify.
    case leave
    /// Both close_notify are through: the socket is raw.
    case raw
    case close(Refusal)
  }

  private enum Phase {
    case ticket, redeeming, waiting
    case leaving(sent: Bool, received: Bool)
    case raw, closed
  }

  private var phase = Phase.ticket
  private var deadline: Instant?

  init(now: Instant) {
    deadline = now + GateLimits.firstMessageTime
  }

  var nextDeadline: Instant? { deadline }

  var isRaw: Bool {
    if case .raw = phase { true } else { false }
  }

  mutating func receive(_ message: ControlMessage) -> Action {
    guard case .ticket = phase, case .attach(let ticket) = message else { return close(.malformed) }
    phase = .redeeming
    return .redeem(ticket)
  }

  /// Bytes of application data came that belong to no first message.
  mutating func receivedStrayData() -> Action { close(.switchFailed) }

  /// The ticket was good.
  mutating func redeemed(now: Instant) {
    guard case .redeeming = phase else { return }
    phase = .waiting
    deadline = now + GateLimits.meetingTime
  }

  /// The other end is there too.
  mutating func meet(now: Instant) -> Action {
    guard case .waiting = phase else { return close(.switchFailed) }
    phase = .leaving(sent: false, received: false)
    deadline = now + GateLimits.switchTime
    return .leave
  }

  /// Our close_notify is with the kernel.
  mutating func sentCloseNotify() -> Action? { advance(sent: true, received: false) }

  mutating func receivedCloseNotify() -> Action? {
    guard case .leaving = phase else { return close(.disconnected) }
    return advance(sent: false, received: true)
  }

  private mutating func advance(sent: Bool, received: Bool) -> Action? {
    guard case .leaving(let wasSent, let wasReceived) = phase else { return nil }
    guard sent || wasSent, received || wasReceived else {
      phase = .leaving(sent: sent || wasSent, received: received || wasReceived)
      return nil
    }
    phase = .raw
    return .raw
  }

  /// To be called at `nextDeadline` or later.
  mutating func handleTimeout(now: Instant) -> Action? {
    guard let deadline, now >= deadline else { return nil }
    switch phase {
    case .ticket, .redeeming: return close(.noTicket)
    case .waiting: return close(.noPeer)
    case .leaving, .raw: return close(.switchFailed)
    case .closed: return nil
    }
  }

  private mutating func close(_ reason: Refusal) -> Action {
    phase = .closed
    deadline = nil
    return .close(reason)
  }
}
