import Packet
import Primitives
import Proxy
import Stack
import Tun

/// The captures of an adapter, and what they know of the flows whose packets they see.
///
/// A packet is named by its flow: which agent it goes to or comes from, what the flow is called in the logs, and what was
/// decided about it. The decision is noted when it is made, so that a packet costs one look into a table.
struct AdapterTaps {
  /// Captures at once.
  static let limit = 4
  /// Flows that are remembered; those that go on are found again.
  static let flowLimit = 32_768

  /// What is known of a flow.
  struct Flow {
    let agent: AgentAlias?
    /// As the logs call it.
    let name: String?
    let comment: [UInt8]
    let isDrop: Bool
    /// For each capture: the interface that its packets belong to; `nil` if they aren't wanted.
    let interfaces: [Int?]
  }

  /// A packet of no flow: the addresses that its agent stands for, and why it was dropped.
  private struct Stray: Hashable {
    let place: IPPrefix?
    let drop: DropReason?
  }

  /// Flows that are remembered, of these captures.
  var capacity = AdapterTaps.flowLimit
  private(set) var captures: [Capture] = []
  private var flows: [FiveTuple: Flow] = [:]
  /// What is said of packets of no flow, so that it isn't put together for each of them.
  private var strays: [Stray: Flow] = [:]
  /// New flows that go without a name before others are forgotten for them.
  private(set) var patience = 0

  var isEmpty: Bool { captures.isEmpty }
  var isFull: Bool { flows.count >= capacity }

  mutating func add(_ capture: Capture) -> Bool {
    guard captures.count < Self.limit else { return false }
    captures.append(capture)
    forget()
    return true
  }

  mutating func remove(_ capture: Capture) {
    captures.removeAll { $0 === capture }
    forget()
  }

  private mutating func forget() {
    flows = [:]
    strays = [:]
    patience = 0
  }

  func hasRoom(for tuple: FiveTuple) -> Bool { !isFull || flows[tuple] != nil }

  /// Forgets all flows, to make room for one: those that are open are to be noted again, and then `areNoted` is called.
  ///
  /// - Returns: whether it did. To note the open ones again costs as much as many notes, so that it isn't done for each
  ///   new flow when nearly all that are remembered are open.
  mutating func forgetFlows() -> Bool {
    guard patience == 0 else {
      patience -= 1
      return false
    }
    flows = [:]
    return true
  }

  mutating func areNoted() {
    patience = flows.count > capacity - capacity / 4 ? capacity / 4 : 0
  }

  // MARK: Flows

  /// Notes what was decided about a flow.
  ///
  /// - Parameters:
  ///   - tuple: as in packets of the application.
  ///   - verdict: for people; begins with "permitted", "denied", "refused" or "ended".
  mutating func note(_ tuple: FiveTuple, _ agent: AgentAlias?, name: String?, verdict: String, isDrop: Bool) {
    flows[tuple] = describe(agent, name: name, verdict: verdict, isDrop: isDrop)
  }

  private func describe(_ agent: AgentAlias?, name: String?, verdict: String, isDrop: Bool) -> Flow {
    var words: [String] = []
    if let agent { words.append("agent \(agent.name)") }
    if let name { words.append("flow \(name)") }
    words.append(verdict)
    return Flow(
      agent: agent, name: name, comment: Array(words.joined(separator: "; ").utf8), isDrop: isDrop,
      interfaces: captures.map { capture in
        let wanted = capture.configuration
        guard capture.takes(.raw), wanted.agent == nil || wanted.agent == agent?.name,
          wanted.flow == nil || wanted.flow == name,
          !wanted.onlyDrops || isDrop
        else { return nil }
        return capture.number(of: agent.map(CaptureInterface.init) ?? .adapter)
      })
  }

  // MARK: Packets

  /// Hands a packet to those captures that want it.
  ///
  /// - Parameters:
  ///   - direction: outbound from an application, inbound to one.
  ///   - flow: what `flow(of:)` says of it.
  func record(
    _ direction: PacketDirection, of flow: Flow, at nanoseconds: Int64, offload: Offload, header: Span<UInt8>,
    payload: Span<Slice>, pool: borrowing SlabPool
  ) {
    for index in captures.indices {
      guard let interface = flow.interfaces[index] else { continue }
      captures[index].record(
        interface, direction, at: nanoseconds, comment: flow.comment, offload: offload, header: header,
        payload: payload, pool: pool)
    }
  }

  /// What an ICMP error quotes stands in the payload of a packet that leaves.
  static func tuple(of header: Span<UInt8>, _ payload: Span<Slice>, _ pool: borrowing SlabPool) -> FiveTuple? {
    let tuple = FiveTuple(peeking: header)
    guard tuple?.protocol == .icmp, !payload.isEmpty else { return tuple }
    return pool.withSpan(payload[0]) { FiveTuple(peeking: $0) } ?? tuple
  }

  /// What is known of the flow of a packet.
  ///
  /// - Parameters:
  ///   - drop: why the stack dropped it.
  ///   - table: for packets of no flow.
  mutating func flow(
    of tuple: FiveTuple?, _ direction: PacketDirection, drop: DropReason? = nil, _ table: AgentTable
  ) -> Flow {
    // An error quotes the packet that it is about, which went the other way.
    let known = tuple.flatMap { flows[$0] ?? flows[$0.reversed] }
    if let known, drop == nil { return known }
    let agent =
      known?.agent
      ?? tuple.flatMap { tuple in
        let first = direction == .outbound ? tuple.destination : tuple.source
        let second = direction == .outbound ? tuple.source : tuple.destination
        return (table.alias(of: first.address) ?? table.alias(of: second.address))?.alias
      }
    let stray = Stray(place: agent.flatMap { $0.v4 ?? $0.v6 }, drop: drop)
    // An alias may have become another agent's.
    if known == nil, let found = strays[stray], found.agent == agent { return found }
    let flow = describe(
      agent, name: known?.name, verdict: drop.map { "dropped: \($0)" } ?? "of no open flow", isDrop: drop != nil)
    if known == nil {
      if strays.count >= capacity { strays = [:] }
      strays[stray] = flow
    }
    return flow
  }
}

extension CaptureInterface {
  /// Packets of a device that belong to no agent.
  static let adapter = CaptureInterface(
    "adapter", description: "packets between applications and the adapter that belong to no agent")

  init(_ alias: AgentAlias) {
    let places = [alias.v4, alias.v6].compactMap { $0.map { "\($0)" } }.joined(separator: " and ")
    self.init(
      alias.name, description: "plaintext of agent \(alias.name), under its alias \(places)",
      comment: CapturedAgent(alias).comment)
  }
}

// MARK: The core

extension AdapterCore {
  /// Begins to hand packets to a capture.
  ///
  /// - Returns: `false` if there are too many.
  mutating func add(_ capture: Capture) -> Bool {
    guard taps.add(capture) else { return false }
    noteFlows()
    return true
  }

  mutating func remove(_ capture: Capture) {
    taps.remove(capture)
    if !taps.isEmpty { noteFlows() }
  }

  /// Notes those flows that are open, as many as are remembered: later ones go without a name.
  private mutating func noteFlows() {
    for id in bindings.ids {
      guard !taps.isFull else { break }
      noteFlow(bindings[id])
    }
    taps.areNoted()
  }

  /// Notes a flow that was let through.
  mutating func noteFlow(_ binding: FlowBinding) {
    note(binding, "permitted", isDrop: false)
  }

  /// Notes what has become of a flow.
  mutating func note(_ binding: FlowBinding, _ verdict: String, isDrop: Bool) {
    guard let application = binding.application, let transport = binding.kind.transport else { return }
    note(
      FiveTuple(protocol: transport, source: application, destination: binding.destination),
      name: connection(of: binding).map { "\($0)" }, verdict, isDrop: isDrop)
  }

  mutating func note(_ tuple: FiveTuple, name: String?, _ verdict: String, isDrop: Bool) {
    if !taps.hasRoom(for: tuple) {
      guard taps.forgetFlows() else { return }
      noteFlows()
      guard taps.hasRoom(for: tuple) else { return }
    }
    taps.note(
      tuple, table.alias(of: tuple.destination.address)?.alias, name: name, verdict: verdict, isDrop: isDrop)
  }

  /// Takes a packet as `receive` does, and hands it to the captures with what was decided about it.
  ///
  /// - Parameter time: nanoseconds since 1970.
  package mutating func receiveTapped(_ packet: Slice, offload: Offload, at time: Int64, now: Instant) {
    let before = stack.counters
    receive(packet, offload: offload, now: now)
    let after = stack.counters
    let drop = DropReason.allCases.first { after.dropped($0) != before.dropped($0) }
    let tuple = pool.withSpan(packet) { FiveTuple(peeking: $0) }
    let flow = taps.flow(of: tuple, .outbound, drop: drop, table)
    pool.withSpan(packet) { bytes in
      taps.record(.outbound, of: flow, at: time, offload: offload, header: bytes, payload: Span(), pool: pool)
    }
  }

  /// Hands a packet that is about to leave to the captures.
  package mutating func tap(_ transmit: borrowing Transmit, at time: Int64) {
    let tuple = transmit.withHeader { AdapterTaps.tuple(of: $0, transmit.payload.span, pool) }
    let flow = taps.flow(of: tuple, .inbound, table)
    transmit.withHeader { header in
      taps.record(
        .inbound, of: flow, at: time, offload: transmit.offload, header: header, payload: transmit.payload.span,
        pool: pool)
    }
  }
}
