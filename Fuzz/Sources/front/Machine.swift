import Control
import Crypto
import FuzzDriver
import Primitives

@testable import GateManager

/// What GateManager's front does with the bytes of one peer, without its sockets: the decoder, the peer's state machine,
/// and a look at each action.
struct Machine: ~Copyable {
  static let identities: [PeerIdentity?] = [nil, .site("north"), .user("ann", pc: "desk")]

  private var decoder = MessageDecoder()
  private var control: ControlPeer
  private var data: DataPeer
  private let isData: Bool
  private let identity: PeerIdentity?
  private var now = Instant(nanoseconds: 1_000_000_000)
  private var hasTicket = false
  private var tries = 0
  private var isOnline = false
  private(set) var isOver = false

  init(isData: Bool, identity: PeerIdentity?) {
    self.isData = isData
    self.identity = identity
    control = ControlPeer(identity: identity, gate: "gate", now: now)
    data = DataPeer(now: now)
  }

  mutating func receive(_ bytes: Span<UInt8>) {
    guard !isOver else { return }
    if isData, hasTicket { return perform(data.receivedStrayData()) }
    if !isData { perform(control.received(bytes: bytes.count, now: now)) }
    do throws(ControlError) {
      try decoder.receive(bytes)
    } catch {
      isOver = true
      return
    }
    while !isOver {
      do throws(ControlError) {
        guard let envelope = try decoder.next() else {
          control.holdsPart(decoder.buffered > 0, now: now)
          return
        }
        if isData {
          perform(data.receive(envelope.message))
        } else {
          perform(control.receive(envelope, now: now, unixSeconds: 5))
        }
      } catch {
        if isData { isOver = true } else { perform(control.receivedMalformed("\(error)", now: now)) }
        if case .tooLong = error { isOver = true }
      }
    }
  }

  mutating func advance(_ interval: Interval) {
    now = now + interval
    if isData {
      if let action = data.handleTimeout(now: now) { perform(action) }
    } else if let deadline = control.nextDeadline, deadline <= now {
      perform(control.handleTimeout(now: now))
      check(isOver || control.nextDeadline.map { $0 > now } ?? true, "a deadline that was acted on is past")
    }
  }

  mutating func meet() {
    guard isData, hasTicket, !data.isRaw else { return }
    perform(data.meet(now: now))
  }

  mutating func closed() {
    guard isData else {
      isOver = true
      return
    }
    if let action = data.receivedCloseNotify() { perform(action) }
  }

  mutating func sent() {
    if isData, let action = data.sentCloseNotify() { perform(action) }
  }

  // MARK: Actions

  private mutating func perform(_ action: DataPeer.Action) {
    switch action {
    case .redeem:
      check(!hasTicket, "one ticket a connection")
      hasTicket = true
      data.redeemed(now: now)
    case .leave: check(hasTicket, "nobody leaves TLS without a ticket")
    case .raw:
      check(hasTicket && data.isRaw, "nobody gets to the relay without a ticket")
      isOver = true
    case .close:
      check(data.nextDeadline == nil, "nothing is due behind the end")
      isOver = true
    }
  }

  private mutating func perform(_ actions: [ControlPeer.Action]) {
    for action in actions {
      check(!isOver, "nothing is done behind the end")
      switch action {
      case .send(let envelope): check((try? envelope.encoded()) != nil, "an answer can be sent")
      case .online(let who):
        check(who == identity && !isOnline, "online once, as who its key says")
        isOnline = true
      case .enroll, .login:
        tries += 1
        check(tries <= GateLimits.triesPerConnection, "tries within their bound")
        if case .enroll = action { check(identity == nil, "only who is nobody enrols") }
        if case .site? = identity { check(false, "a site doesn't log in") }
      case .agents: check(isOnline && identity?.role == .siteManager, "agents are a site's to tell")
      case .list, .explain, .connect: check(isOnline && identity?.role == .linkManager, "sites are a user's to ask for")
      case .cancel: check(isOnline, "only who is known cancels")
      case .note: check(isOnline, "strangers aren't corrected")
      case .close: isOver = true
      }
    }
  }
}
