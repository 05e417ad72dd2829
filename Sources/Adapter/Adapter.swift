import Framing
import Kernel
import Packet
import Primitives
import Proxy
import Stack
import Synchronization
import Tun

/// LinkManager as a library: makes the agents of connected sites reachable from this host, and nothing else.
///
/// Applications reach an agent by its alias address through a packet device, or this process reaches it by
/// `connect(to:port:)` with no device at all. All packets and sessions are worked on by one thread; every
/// method may be called from anywhere.
public final class Adapter: Sendable {
  private let mailbox: Mailbox<AdapterCommand>
  private let thread: Thread
  private let final: FinalStatus
  public let configuration: AdapterConfiguration

  /// Starts an adapter on a packet device: a TUN device of our own making, one adopted from a descriptor, or packets
  /// in memory.
  ///
  /// - Parameters:
  ///   - onFailure: called once if the device fails, on the adapter's thread; the adapter has then stopped.
  ///   - onFlow: called on the adapter's thread for every flow that is opened or refused, and when it ends: it must not
  ///     block.
  public convenience init<Device: PacketDevice & ~Copyable & SendableMetatype>(
    device: consuming Device, configuration: AdapterConfiguration = AdapterConfiguration(),
    onFailure: @escaping @Sendable (TunError) -> Void = { _ in },
    onFlow: @escaping @Sendable (FlowReport) -> Void = { _ in }
  ) throws {
    try self.init(
      device: device, configuration: configuration, upkeep: nil, onFailure: onFailure, onFlow: onFlow)
  }

  init<Device: PacketDevice & ~Copyable & SendableMetatype>(
    device: consuming Device, configuration: AdapterConfiguration, upkeep: DeviceUpkeep<Device>?,
    onFailure: @escaping @Sendable (TunError) -> Void = { _ in },
    onFlow: @escaping @Sendable (FlowReport) -> Void = { _ in }
  ) throws {
    let mailbox = try Mailbox<AdapterCommand>()
    let final = FinalStatus()
    var random = SystemRandomNumberGenerator()
    let loop = try AdapterLoop(
      device: device, configuration: configuration, mailbox: mailbox, secret: (random.next(), random.next()),
      upkeep: upkeep, onFailure: onFailure, onFlow: onFlow)
    let parcel = Parcel(loop)
    self.mailbox = mailbox
    self.final = final
    self.configuration = configuration
    thread = try Thread(name: "adapter") {
      guard var loop = parcel.open() else { return }
      let last = loop.run()
      final.status.withLock { $0 = last }
    }
  }

  /// Starts an adapter without a device, for byte streams of this process only.
  public convenience init(configuration: AdapterConfiguration = AdapterConfiguration()) throws {
    try self.init(device: NoDevice(), configuration: configuration)
  }

  /// Makes the agents of a site reachable over an established session. A site's new session replaces its old one.
  ///
  /// - Parameter onEnd: called once when the session has ended, on the adapter's thread.
  /// - Returns: the site's agents with their aliases.
  @discardableResult
  public func attach(
    _ session: consuming EstablishedSession, onEnd: @escaping @Sendable (SessionEnd) -> Void = { _ in }
  ) async throws -> [AgentAlias] {
    let parcel = Parcel(session)
    let outcome = await withCheckedContinuation { (continuation: CheckedContinuation<AttachOutcome, Never>) in
      mailbox.order(.attach(parcel, onEnd: onEnd, done: { continuation.resume(returning: $0) }))
    }
    switch outcome {
    case .attached(let aliases): return aliases
    case .failed(let error): throw error
    }
  }

  /// Ends a site's session in order; its flows are reset.
  public func detach(site: String, reason: String = "disconnected by the user") {
    mailbox.order(.detach(site: site, reason: reason))
  }

  /// Opens a byte stream to a port of an agent.
  ///
  /// - Parameter agent: `SITE/AGENT`.
  /// - Throws: `LocalStreamError` that says who refused it and why.
  public func connect(to agent: String, port: UInt16) async throws -> LocalStream {
    try await open(agent, .port(port))
  }

  /// Opens a byte stream to a service of an agent's site.
  ///
  /// - Parameters:
  ///   - service: `discovery` or `capture`; the site says what an agent offers.
  ///   - agent: `SITE/AGENT`.
  /// - Throws: `LocalStreamError` that says who refused it and why.
  public func connect(to service: StreamProtocol, of agent: String) async throws -> LocalStream {
    try await open(agent, .service(service))
  }

  private func open(_ agent: String, _ target: LocalStreamCore.Target) async throws -> LocalStream {
    let parts = agent.split(separator: "/", maxSplits: 1).map(String.init)
    guard parts.count == 2 else { throw LocalStreamError.unknownAgent(agent) }
    let mailbox = mailbox
    let core = LocalStreamCore(limit: configuration.localStreamBuffer) { mailbox.order($0) }
    try await core.open(parts[0], parts[1], target)
    return LocalStream(core: core)
  }

  /// Which rule decides about packets to a destination, and why.
  public func explain(_ transport: TransportProtocol, _ destination: Endpoint) async -> Explanation {
    await withCheckedContinuation { continuation in
      mailbox.order(.explain(transport, destination, { continuation.resume(returning: $0) }))
    }
  }

  /// All agents that can be reached now.
  public var agents: [AgentAlias] {
    get async {
      await withCheckedContinuation { continuation in
        mailbox.order(.agents { continuation.resume(returning: $0) })
      }
    }
  }

  /// The open flows, `limit` of them at most, in no particular order.
  public func flows(limit: Int) async -> [FlowStatus] {
    await withCheckedContinuation { continuation in
      mailbox.order(.flows(limit: limit) { continuation.resume(returning: $0) })
    }
  }

  /// Hands the device's packets to a capture, each with its agent, its flow and what was decided about it, until
  /// `remove`. Who called `Capture.run` writes them.
  ///
  /// Byte streams of this process have no packets, and aren't seen.
  /// - Returns: `false` if there are too many captures, or the adapter has stopped.
  public func add(_ capture: Capture) async -> Bool {
    await withCheckedContinuation { continuation in
      mailbox.order(.capture(capture) { continuation.resume(returning: $0) })
    }
  }

  public func remove(_ capture: Capture) {
    mailbox.send(.endCapture(capture))
  }

  /// Of an adapter that has stopped: the last.
  public var status: AdapterStatus {
    get async {
      if let last = final.status.withLock({ $0 }) { return last }
      return await withCheckedContinuation { continuation in
        mailbox.order(.status { continuation.resume(returning: $0) })
      }
    }
  }

  /// The host's network has changed: finds out within seconds which sessions are still alive, and ends the others. A
  /// device of the adapter's own is put right if somebody has changed it.
  public func networkChanged() {
    mailbox.send(.networkChanged)
  }

  /// Ends all sessions in order, closes the device and waits for the thread.
  public func stop() {
    mailbox.send(.stop)
    thread.join()
  }

  deinit {
    mailbox.send(.stop)
  }
}

/// What a loop leaves when it has stopped.
private final class FinalStatus: Sendable {
  let status = Mutex<AdapterStatus?>(nil)
}

/// What keeps an adapter from doing what it was asked.
public enum AdapterError: Error, Hashable, Sendable, CustomStringConvertible {
  /// This many sites are connected already.
  case tooManySites(Int)
  /// The session can't be used; the text says why.
  case session(String)
  /// The pool of aliases can't be used beside this network of the host.
  case aliasClash(IPPrefix, HostNetwork)

  public var description: String {
    switch self {
    case .tooManySites(let limit): "\(limit) sites are connected: disconnect one first"
    case .session(let reason): "the session can't be used: \(reason)"
    case .aliasClash(let pool, let network) where network.address == pool.address(at: 1):
      "aliases come from \(pool), and so do those of another LinkManager on this host, which has \(network): use that one, "
        + "or choose another pool"
    case .aliasClash(let pool, let network):
      "aliases come from \(pool), and this host has \(network): choose another pool"
    }
  }
}
