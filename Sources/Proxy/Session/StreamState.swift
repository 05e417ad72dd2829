import Framing
import Primitives

/// One stream, or one flow of datagrams, at one end of a session.
struct StreamState {
  enum Phase: Equatable {
    case free
    /// OPEN was sent or received, and not answered.
    case requested
    case open
  }

  /// Where the stream stands in the order of sending.
  enum Turn { case none, new, old }

  var tenant: UInt16 = 0
  var phase = Phase.free
  var kind = StreamProtocol.tcp
  /// The owner's own name for the stream.
  var tag: UInt64 = 0
  var request: OpenRequest?
  /// Instead of `request`, for a stream that begins with the device's connection to the site.
  var listenRequest: ListenRequest?
  /// Where the site listens for it.
  var listenAnswer: ListenAnswer?
  var refusal: Refusal?

  var send = SendCredit()
  var receive = ReceiveWindow()
  /// Datagrams have no credit to count them by.
  var datagramBytesIn: UInt64 = 0
  var datagramBytesOut: UInt64 = 0

  /// What waits to be sealed.
  var queue = RingQueue<Slice>()
  var queuedBytes = 0
  var turn = Turn.none
  var deficit = 0

  var finishQueued = false
  var finishSent = false
  var finishReceived = false
  var windowQueued = false
  /// Room for a datagram that is larger than a frame, and how much of it has come.
  var partial: Slice?
  var partialCount = 0
  /// Of a message with an Ethernet frame: in how many pieces that was.
  var partialPieces = 0
  /// The rest of a datagram that was dropped goes the same way.
  var skipsParts = false

  var isOpen: Bool { phase == .open }
  var isFinished: Bool { finishSent && finishReceived }
}

/// How much this end may send: the peer's limit and what was used of it, as totals since the stream began.
///
/// Totals instead of increments: a WINDOW frame says the same however often it is read.
struct SendCredit: Equatable {
  private(set) var limit = UInt64(SessionLimits.initialWindow)
  private(set) var used: UInt64 = 0

  /// Bytes that may be sent now.
  var available: Int { Int(limit - used) }

  /// - Returns: `false` if there isn't that much credit.
  mutating func use(_ count: Int) -> Bool {
    guard count <= available else { return false }
    used += UInt64(count)
    return true
  }

  /// Limits never shrink: an old one is ignored. Growth is bounded so that arithmetic can't overflow.
  mutating func raise(to newLimit: UInt64) -> Bool {
    guard newLimit > limit, newLimit - used <= UInt64(Int32.max) else { return false }
    limit = newLimit
    return true
  }
}

/// How much the peer may send, and when to tell it more.
///
/// The window grows by half when a whole one is consumed within two round trips: then the window, not the reader, is
/// what holds the stream back. A slow reader's window stays small. In steps of half, since what a window has too much
/// lies on the way as a queue, behind which all small traffic waits.
struct ReceiveWindow: Equatable {
  private(set) var limit = UInt64(SessionLimits.initialWindow)
  private(set) var received: UInt64 = 0
  private(set) var consumed: UInt64 = 0
  private(set) var size = SessionLimits.initialWindow
  private var epochStart = Instant.zero
  private var epochConsumed: UInt64 = 0

  /// Bytes that were received and not consumed.
  var held: Int { Int(received - consumed) }

  /// - Returns: `false` if the peer sent more than it was allowed.
  mutating func receive(_ count: Int) -> Bool {
    guard received + UInt64(count) <= limit else { return false }
    received += UInt64(count)
    return true
  }

  /// Counts what the reader is through with.
  ///
  /// - Parameter growth: bytes by which the window may grow within the session's budget.
  /// - Returns: by how much the window has grown, and whether the peer should be told its new limit.
  mutating func consume(
    _ count: Int, roundTrip: Interval, maximum: Int, growth: Int, now: Instant
  ) -> (grown: Int, announce: Bool) {
    consumed = min(received, consumed + UInt64(count))
    var grown = 0
    if epochStart == .zero {
      epochStart = now
      epochConsumed = consumed
    } else if consumed - epochConsumed >= UInt64(size) {
      if now - epochStart < roundTrip * 2 {
        grown = min(size / 2, maximum - size)
        if grown > growth { grown = 0 }
        size += grown
      }
      epochStart = now
      epochConsumed = consumed
    }
    let newLimit = consumed + UInt64(size)
    return (grown, newLimit >= limit + UInt64(size / 4))
  }

  /// The limit to announce now.
  mutating func announce() -> UInt64 {
    limit = max(limit, consumed + UInt64(size))
    return limit
  }
}
