import Framing
import Primitives
import Synchronization

/// A byte stream from this process to a device port, without any network device in between.
///
/// Thread-safe. Reading and writing may go on at the same time; one reader and one writer at a time.
public final class LocalStream: Sendable {
  let core: LocalStreamCore

  init(core: LocalStreamCore) {
    self.core = core
  }

  /// The next bytes, at least one; `nil` once the device has sent everything.
  ///
  /// - Throws: `LocalStreamError` if the stream was cut: what came before is not the whole.
  public func read() async throws -> [UInt8]? {
    try await core.read()
  }

  /// Hands over bytes; returns once they are queued within the stream's buffer.
  public func write(_ bytes: [UInt8]) async throws {
    try await core.write(bytes)
  }

  /// Everything was written: the device reads to the end. Reading goes on.
  public func finish() {
    core.finish()
  }

  /// Cuts the stream in both directions.
  public func reset() {
    core.reset()
  }

  deinit {
    core.reset()
  }
}

/// Why a `LocalStream` can't go on.
public enum LocalStreamError: Error, Sendable {
  /// No agent permits it.
  case denied(Denial)
  /// No connected site has an agent of this name.
  case unknownAgent(String)
  /// The site refused it, or the device did.
  case refused(Refusal)
  /// It was cut by the far end, or with its session.
  case reset(ResetCode)
  /// The adapter is stopped.
  case stopped
  /// This end has finished or reset it before.
  case finished
}

/// The state that a stream's user and the adapter's loop share.
final class LocalStreamCore: Sendable {
  private struct State {
    var inbound: [[UInt8]] = []
    var ended = false
    var failure: LocalStreamError?
    var reader: CheckedContinuation<[UInt8]?, any Error>?
    var outbound: [UInt8] = []
    var finishing = false
    var writer: CheckedContinuation<Void, any Error>?
    var opener: CheckedContinuation<Void, any Error>?
    var binding: SlotID?
  }

  private let state = Mutex(State())
  private let limit: Int
  private let command: @Sendable (AdapterCommand) -> Void

  init(limit: Int, command: @escaping @Sendable (AdapterCommand) -> Void) {
    self.limit = limit
    self.command = command
  }

  // MARK: The user's side

  /// What of an agent.
  enum Target: Sendable {
    case port(UInt16)
    case service(StreamProtocol)
  }

  func open(_ site: String, _ agent: String, _ target: Target) async throws {
    try await withCheckedThrowingContinuation { (continuation: CheckedContinuation<Void, any Error>) in
      state.withLock { $0.opener = continuation }
      command(.openLocal(self, site: site, agent: agent, target))
    }
  }

  func read() async throws -> [UInt8]? {
    try await withCheckedThrowingContinuation { (continuation: CheckedContinuation<[UInt8]?, any Error>) in
      let (result, consumed): (Result<[UInt8]?, any Error>?, Int) = state.withLock { state in
        if !state.inbound.isEmpty {
          let bytes = state.inbound.removeFirst()
          return (.success(bytes), bytes.count)
        }
        if let failure = state.failure { return (.failure(failure), 0) }
        if state.ended { return (.success(nil), 0) }
        state.reader = continuation
        return (nil, 0)
      }
      if consumed > 0, let binding = state.withLock({ $0.binding }) { command(.localConsumed(binding, consumed)) }
      if let result { continuation.resume(with: result) }
    }
  }

  func write(_ bytes: [UInt8]) async throws {
    try await withCheckedThrowingContinuation { (continuation: CheckedContinuation<Void, any Error>) in
      // Once the continuation is stored, it belongs to whoever takes it out of the state.
      let (result, binding): (Result<Void, any Error>?, SlotID?) = state.withLock { state in
        if let failure = state.failure { return (.failure(failure), nil) }
        if state.finishing { return (.failure(LocalStreamError.finished), nil) }
        state.outbound += bytes
        guard state.outbound.count > limit else { return (.success(()), state.binding) }
        state.writer = continuation
        return (nil, state.binding)
      }
      if let binding { command(.localWritten(self, binding)) }
      if let result { continuation.resume(with: result) }
    }
  }

  func finish() {
    let binding = state.withLock { state in
      state.finishing = true
      return state.binding
    }
    if let binding { command(.localWritten(self, binding)) }
  }

  func reset() {
    let binding = state.withLock { state in
      state.inbound = []
      return state.binding
    }
    // Whoever reads or writes at this moment must not wait for what never comes.
    fail(.finished)
    if let binding { command(.localReset(binding)) }
  }

  // MARK: The loop's side

  func receiveOpened(_ binding: SlotID) {
    let opener = state.withLock { state in
      state.binding = binding
      return state.opener.take()
    }
    opener?.resume()
  }

  func receiveRefusal(_ refusal: Refusal) {
    fail(.refused(refusal))
  }

  func receive(_ bytes: [UInt8]) {
    let (reader, binding) = state.withLock { state -> (CheckedContinuation<[UInt8]?, any Error>?, SlotID?) in
      // What was on its way when the stream was cut is nobody's.
      guard state.failure == nil else { return (nil, nil) }
      guard let reader = state.reader.take() else {
        state.inbound.append(bytes)
        return (nil, nil)
      }
      return (reader, state.binding)
    }
    guard let reader else { return }
    if let binding { command(.localConsumed(binding, bytes.count)) }
    reader.resume(returning: bytes)
  }

  func receiveEnd() {
    let reader = state.withLock { state in
      state.ended = true
      return state.reader.take()
    }
    reader?.resume(returning: nil)
  }

  func receiveReset(_ code: ResetCode) {
    fail(.reset(code))
  }

  func fail(_ error: LocalStreamError) {
    let waiting = state.withLock { state in
      if state.failure == nil { state.failure = error }
      state.binding = nil
      defer {
        state.reader = nil
        state.writer = nil
        state.opener = nil
      }
      return (state.reader, state.writer, state.opener)
    }
    waiting.0?.resume(throwing: error)
    waiting.1?.resume(throwing: error)
    waiting.2?.resume(throwing: error)
  }

  /// Takes up to `credit` bytes to send, and whether the user has finished and nothing is left.
  func takeOutbound(_ credit: Int) -> (bytes: [UInt8], isFinished: Bool) {
    let (bytes, finished, writer) = state.withLock {
      state -> ([UInt8], Bool, CheckedContinuation<Void, any Error>?) in
      let count = min(credit, state.outbound.count)
      let bytes = Array(state.outbound[..<count])
      state.outbound.removeFirst(count)
      let writer = state.outbound.count <= limit ? state.writer.take() : nil
      return (bytes, state.finishing && state.outbound.isEmpty, writer)
    }
    writer?.resume()
    return (bytes, finished)
  }
}
