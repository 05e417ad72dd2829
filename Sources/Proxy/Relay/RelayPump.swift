/// What one splice(2) came to.
package enum SpliceResult: Equatable, Sendable {
  /// This many bytes; at least 1.
  case moved(Int)
  case wouldBlock
  /// The source has no more bytes, ever.
  case ended
  /// The value of `errno`.
  case failed(Int32)
}

/// One direction of a relay: source socket → pipe → sink socket. Decides what to do next; does nothing itself.
///
///                   moved                        pipe empty again
///     reading ─────────────────▶ writing ────────────────────────▶ reading
///        │ ended (pipe is empty)
///        ▼
///     ending ── shutdown(SHUT_WR) on the sink ──▶ done
///
/// The pipe is filled only while it is empty. So EAGAIN of a fill can only mean that the source has nothing,
/// never that the pipe is full; reading isn't asked for before all was written; and an end of file is acted on
/// only after every byte before it has left.
package struct RelayPump: Sendable {
  package enum Action: Equatable, Sendable {
    /// splice from the source into the pipe, as much as goes in.
    case fill
    /// splice this many bytes from the pipe into the sink.
    case drain(Int)
    /// Shut down the sink's sending side.
    case finish
    /// Nothing until the source is readable or the sink writable.
    case wait
    /// This direction is over.
    case done
  }

  private enum Phase { case reading, writing(Int), ending, done, failed }

  private var phase = Phase.reading
  // Readiness is assumed until a call says otherwise: the poller reports changes only, and what happened before
  // the sockets were handed over is no change.
  private var isSourceReady = true
  private var isSinkReady = true
  /// Bytes that have reached the sink.
  package private(set) var bytes: UInt64 = 0
  /// Calls that moved bytes.
  package private(set) var splices: UInt64 = 0

  package init() {}

  /// Bytes in the pipe: it may go back to the pool only at 0.
  package var bytesInPipe: Int {
    if case .writing(let count) = phase { count } else { 0 }
  }

  package var isDone: Bool {
    if case .done = phase { true } else { false }
  }

  package var next: Action {
    switch phase {
    case .reading: isSourceReady ? .fill : .wait
    case .writing(let count): isSinkReady ? .drain(count) : .wait
    case .ending: .finish
    case .done, .failed: .done
    }
  }

  package mutating func sourceIsReady() {
    isSourceReady = true
  }

  package mutating func sinkIsReady() {
    isSinkReady = true
  }

  /// What the call after `.fill` came to. An error of the source is the caller's to act on.
  package mutating func filled(_ result: SpliceResult) {
    guard case .reading = phase else { return }
    switch result {
    case .moved(let count):
      phase = .writing(count)
      splices &+= 1
    case .wouldBlock: isSourceReady = false
    case .ended: phase = .ending
    case .failed: phase = .failed
    }
  }

  /// What the call after `.drain` came to.
  package mutating func drained(_ result: SpliceResult) {
    guard case .writing(let count) = phase else { return }
    switch result {
    case .moved(let moved):
      let left = max(0, count - moved)
      phase = left == 0 ? .reading : .writing(left)
      bytes &+= UInt64(count - left)
      splices &+= 1
    case .wouldBlock: isSinkReady = false
    case .ended, .failed: phase = .failed
    }
  }

  /// The sink was shut down for sending.
  package mutating func finished() {
    if case .ending = phase { phase = .done }
  }
}
