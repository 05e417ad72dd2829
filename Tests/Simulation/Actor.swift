import Primitives

/// An application or a device at its end of a connection: follows its plan, and keeps what it has seen.
struct Actor {
  /// How its socket failed.
  enum Failure { case refused, reset, timedOut }

  /// What it does next.
  enum Step: Equatable {
    case send(Int)
    case read(Int)
    case finish
    case close
    case reset
    case vanish
    /// Nothing before this time, or before its socket changes.
    case sleep(Instant?)
  }

  let plan: ActorPlan
  /// Whose bytes it sends, and whose it expects.
  let sendKey, receiveKey: Int
  private(set) var openedAt: Instant?
  private(set) var sent = 0
  /// Bytes that have come, all of them as they must be, and those of them that it hasn't read.
  private(set) var received = 0
  private(set) var unread = 0
  private(set) var mismatch: String?
  /// When it ended its own direction, and when it saw the end of the other one.
  private(set) var finishedAt: Instant?
  private(set) var sawFinishAt: Instant?
  private(set) var hasClosed = false
  /// Ended the connection by itself, and not in order.
  private(set) var hasReset = false
  private(set) var failure: Failure?
  private var nextSend = Instant.zero
  private var nextRead = Instant.zero

  init(_ plan: ActorPlan, sendKey: Int, receiveKey: Int) {
    self.plan = plan
    self.sendKey = sendKey
    self.receiveKey = receiveKey
  }

  var isOpen: Bool { openedAt != nil && !isOver }
  var hasFinished: Bool { finishedAt != nil }
  var sawFinish: Bool { sawFinishAt != nil }
  /// Has sent its end and seen the other's: whatever comes then, it has no use for.
  var isComplete: Bool { hasFinished && sawFinish }
  /// Whether what becomes of the connection may be its own doing.
  var hasBrokenOff: Bool { hasReset || hasClosed }
  /// Nothing will change any more.
  var isOver: Bool { failure != nil || hasReset || isComplete }

  // MARK: What its socket tells

  mutating func opened(now: Instant) {
    openedAt = now
  }

  /// Bytes have come. A socket that is read when they are looked at has no buffer: `isRead`.
  mutating func receive(_ bytes: Span<UInt8>, isRead: Bool) {
    let good = Pattern.matching(receiveKey, from: received, bytes)
    if good < bytes.count, mismatch == nil { mismatch = "a wrong byte at \(received + good)" }
    if sawFinish, mismatch == nil { mismatch = "bytes behind the end at \(received)" }
    received += bytes.count
    if !isRead { unread += bytes.count }
  }

  mutating func receiveFinish(now: Instant) {
    // Who has reset the connection isn't told any more.
    guard !isOver else { return }
    sawFinishAt = now
  }

  mutating func fail(_ failure: Failure) {
    guard self.failure == nil, !hasReset else { return }
    self.failure = failure
  }

  // MARK: What it does

  private var read: Int { received - unread }

  /// Bytes that it will send before its plan ends.
  private var sendLimit: Int {
    switch plan.ending {
    case .closeAtSent(let count), .resetAtSent(let count): min(count, plan.size)
    default: plan.size
    }
  }

  /// - Parameters:
  ///   - room: bytes that its socket takes.
  ///   - readable: bytes that its socket gives.
  mutating func next(room: Int, readable: Int, _ random: inout SeededRandom, now: Instant) -> Step {
    guard let openedAt, !isOver, !hasClosed else { return .sleep(nil) }
    var wake: Instant? = hasFinished ? nil : openedAt + plan.patience
    switch plan.ending {
    case .resetAtSent(let count) where sent >= count: return .reset
    case .resetAtRead(let count) where read >= count: return .reset
    case .closeAtSent(let count) where sent >= count: return .close
    case .closeAtRead(let count) where read >= count: return .close
    case .resetAfter(let time):
      if now >= openedAt + time { return .reset }
      wake = Instant.earliest(wake, openedAt + time)
    case .vanishAfter(let time):
      if now >= openedAt + time { return .vanish }
      wake = Instant.earliest(wake, openedAt + time)
    default: break
    }
    if readable > 0 {
      if now >= nextRead {
        nextRead = now + plan.readPause
        return .read(min(readable, plan.readChunk))
      }
      wake = Instant.earliest(wake, nextRead)
    }
    guard !hasFinished else { return .sleep(wake) }
    if sent < sendLimit, room > 0 {
      if now >= nextSend {
        nextSend = now + plan.sendPause
        return .send(Int.random(in: 1...min(plan.chunk, room, sendLimit - sent), using: &random))
      }
      wake = Instant.earliest(wake, nextSend)
    }
    let isDone =
      switch plan.ending {
      case .finishWhenSent, .resetAfter, .vanishAfter: sent == sendLimit
      // Others reset or close at their time; if that can't come, they end in order.
      case .closeAtSent, .resetAtSent: false
      case .finishAfterPeer: sent == sendLimit && sawFinish
      case .finishAtRead(let count): read >= count || sawFinish
      case .closeAtRead, .resetAtRead: sawFinish && sent == sendLimit
      }
    return isDone || now >= openedAt + plan.patience ? .finish : .sleep(wake)
  }

  mutating func didSend(_ count: Int) { sent += count }
  mutating func didRead(_ count: Int) { unread -= min(unread, count) }

  mutating func didFinish(now: Instant) {
    if finishedAt == nil { finishedAt = now }
  }

  mutating func didClose(now: Instant) {
    hasClosed = true
    didFinish(now: now)
  }

  mutating func didReset() {
    guard !isOver else { return }
    hasReset = true
  }
}

extension Actor: CustomStringConvertible {
  var description: String {
    var words = ["sent \(sent)/\(plan.size)", "received \(received)"]
    if openedAt == nil { words.append("never open") }
    if hasFinished { words.append("finished") }
    if hasClosed { words.append("closed") }
    if hasReset { words.append("reset it") }
    if sawFinish { words.append("saw the end") }
    if let failure { words.append("saw \(failure)") }
    return words.joined(separator: ", ")
  }
}
