import Adapter
import Control
import Packet
import Primitives
import Stack
import Tun

/// The packets of a capture of LinkManager's, once more through a stack and the filter, in virtual time.
///
/// What applications sent goes in as it was. In the sites' place are the packets that went to applications: an open flow
/// is accepted when its SYN-ACK comes up, bytes that a device sent are handed to the stack, a RST cuts the flow. So the
/// stack sees what it saw, and says what it makes of it. Its sequence numbers are others than those of the capture, so
/// that acknowledgements are moved by the difference; timestamps and SACK, which speak of the other numbers as well, are
/// taken out of the segments.
public struct Replay: ~Copyable {
  /// What came of it.
  public struct Outcome: Equatable, Sendable {
    /// What the filter decided, in order: `tcp 10.0.0.1:5 > 198.18.0.9:80: permitted by agent plant/plc`.
    public var verdicts: [String] = []
    /// What happened to flows, in order, with the time since the first packet in milliseconds.
    public var events: [String] = []
    /// Packets that the stack dropped, by reason.
    public var drops: [String: UInt64] = [:]
    /// Decisions that differ from what the capture says was decided.
    public var disagreements: [String] = []
    /// Packets from and to applications that were handed in, and that weren't: cut, or of another kind of link.
    public var packets = 0
    public var skipped = 0
    /// Payload of TCP that applications sent, as the stack delivered it, and that devices did.
    public var bytesFromApplications = 0
    public var bytesToApplications = 0
    /// Slabs that are held when all is over: must be none.
    public var slabsHeld = 0

    public init() {}
  }

  private struct Flow {
    let id: FlowID
    /// Where the device's numbers begin in the capture, and the stack's.
    var captured: UInt32?
    var own: UInt32?
    /// The next of the device's bytes.
    var next: UInt32 = 0
    var isAccepted = false
    var isFinished = false
  }

  private var stack: Stack
  private var pool = SlabPool(limit: 512)
  private var table: AgentTable
  private var lane = SlabLane()
  private var transmit = Transmit()
  private var flows: [FiveTuple: Flow] = [:]
  private var tuples: [FlowID: FiveTuple] = [:]
  private var outcome = Outcome()
  private var now = Instant(nanoseconds: 1_000_000_000)

  /// - Parameters:
  ///   - aliases: where the capture's aliases came from.
  ///   - agents: of each site; those that the capture itself names are known in any case.
  public static func run(
    _ capture: [UInt8], aliases: AliasPool = .standard, agents: [String: [AgentDescription]] = [:]
  ) throws(PcapngError) -> Outcome {
    var reader = PcapngReader()
    var packets: [(packet: PcapngReader.Packet, isRaw: Bool)] = []
    var known = agents
    while let packet = try reader.next(in: capture.span) {
      packets.append((packet, reader.interfaces[packet.interface].linkType == LinkType.raw.rawValue))
      guard let agent = CapturedAgent(comment: reader.interfaces[packet.interface].comment) else { continue }
      if known[agent.site]?.contains(where: { $0.name == agent.agent.name }) != true {
        known[agent.site, default: []].append(agent.agent)
      }
    }
    var replay = Replay(aliases: aliases, agents: known)
    replay.run(packets, capture)
    return replay.finish()
  }

  private init(aliases: AliasPool, agents: [String: [AgentDescription]]) {
    table = AgentTable(pool: aliases)
    for (site, list) in agents.sorted(by: { $0.key < $1.key }) { table.add(site: site, agents: list) }
    var configuration = StackConfiguration()
    configuration.checksumOffload = true
    configuration.segmentationOffload = true
    stack = Stack(configuration: configuration, secret: (1, 2))
  }

  private mutating func run(_ packets: [(packet: PcapngReader.Packet, isRaw: Bool)], _ capture: [UInt8]) {
    let first = packets.lazy.compactMap(\.packet.nanoseconds).first ?? 0
    let start = now
    for (packet, isRaw) in packets {
      let (since, isBeyond) = (packet.nanoseconds ?? first).subtractingReportingOverflow(first)
      // Times that go back, or leap by more than a day, are a clock that was set.
      if !isBeyond, since >= 0, since < 86_400_000_000_000 {
        advance(to: max(now, start + Interval(nanoseconds: since)))
      }
      guard isRaw, packet.data.count == packet.originalCount, packet.data.count <= PacketLimits.size else {
        outcome.skipped += 1
        continue
      }
      outcome.packets += 1
      let bytes = Array(capture[packet.data])
      if packet.direction == .inbound {
        answer(bytes)
      } else {
        receive(bytes, said: packet.comments.first ?? "")
      }
      settle()
    }
    advance(to: now + .seconds(1))
  }

  private mutating func finish() -> Outcome {
    for reason in DropReason.allCases where stack.counters.dropped(reason) > 0 {
      outcome.drops["\(reason)"] = stack.counters.dropped(reason)
    }
    stack.removeAll(pool: &pool)
    transmit.clear(pool: &pool)
    pool.close(&lane)
    outcome.slabsHeld = pool.slabsInUse - pool.cellSlabs + pool.cellsInUse
    return outcome
  }

  private mutating func advance(to time: Instant) {
    while let deadline = stack.nextDeadline, deadline <= time {
      now = max(now, deadline)
      stack.handleTimeout(pool: &pool, now: now)
      settle()
      // A deadline that stays where it is would be looked at for ever.
      if let next = stack.nextDeadline, next <= deadline { break }
    }
    now = time
  }

  private mutating func tell(_ text: String) {
    outcome.events.append("\((now - Instant(nanoseconds: 1_000_000_000)).milliseconds) ms: \(text)")
  }

  // MARK: From applications

  private mutating func receive(_ original: [UInt8], said: String) {
    var bytes = original
    if let packet = try? ParsedPacket(parsing: bytes.span), case .tcp(let header) = packet.transport,
      let tuple = packet.fiveTuple
    {
      ReplayedSegment.neutralizeOptions(in: &bytes, packet)
      if header.flags.contains(.ack), let flow = flows[tuple], let captured = flow.captured, let own = flow.own {
        ReplayedSegment.setAcknowledgement(header.acknowledgement &- captured &+ own, in: &bytes, packet)
      }
    }
    guard let slice = pool.copy(bytes.span, in: &lane) else { return }
    let before = outcome.verdicts.count
    // The capture may have seen checksums before they were computed.
    stack.receive(slice, offload: Offload(checksum: .verified), pool: &pool, now: now)
    pool.release(slice)
    takeEvents()
    if outcome.verdicts.count > before, let verdict = outcome.verdicts.last { compare(verdict, with: said) }
  }

  private mutating func compare(_ verdict: String, with said: String) {
    let wasDenied = said.contains("denied: ")
    let wasPermitted = said.contains("permitted") || said.contains("refused: ")
    guard wasDenied || wasPermitted, verdict.contains(": denied") != wasDenied else { return }
    outcome.disagreements.append("\(verdict), but the capture says: \(said)")
  }

  private mutating func decide(_ transport: TransportProtocol, _ tuple: FiveTuple) -> Bool {
    switch table.verdict(transport, tuple.destination) {
    case .permitted(let alias, _):
      outcome.verdicts.append("\(tuple): permitted by agent \(alias.name)")
      return true
    case .denied(let denial):
      outcome.verdicts.append("\(tuple): denied: \(denial)")
      return false
    }
  }

  private mutating func takeEvents() {
    while let event = stack.nextEvent() {
      switch event {
      case .openRequested(let id, let tuple):
        guard decide(.tcp, tuple) else {
          stack.refuse(id, .unreachable(.adminProhibited), pool: &pool, now: now)
          continue
        }
        stack.setReceiveCredit(id, 1 << 20, now: now)
        flows[tuple] = Flow(id: id)
        tuples[id] = tuple
      case .datagramFlowRequested(let id, let tuple):
        guard decide(.udp, tuple) else {
          stack.refuse(id, .unreachable(.adminProhibited), pool: &pool, now: now)
          continue
        }
        flows[tuple] = Flow(id: id)
        tuples[id] = tuple
        stack.acceptDatagrams(id, pool: &pool, now: now)
      case .echoRequested(let echo, let slice):
        let tuple = FiveTuple(
          protocol: .icmp, source: Endpoint(echo.source, 0), destination: Endpoint(echo.destination, 0))
        if !decide(.icmp, tuple) { stack.sendUnreachable(echo, .adminProhibited, now: now) }
        pool.release(slice)
      case .received(let id, let slice):
        outcome.bytesFromApplications += slice.count
        pool.release(slice)
        stack.setReceiveCredit(id, 1 << 20, now: now)
      case .datagram(_, let slice): pool.release(slice)
      case .established(let id): tell("established", id)
      case .finished(let id): tell("finished by the application", id)
      case .reset(let id, let cause):
        tell("reset: \(cause)", id)
        forget(id)
      case .closed(let id):
        tell("closed", id)
        forget(id)
      case .datagramFlowExpired(let id):
        tell("expired", id)
        forget(id)
      case .datagramRejected(let id): tell("rejected by the application", id)
      case .acknowledged: break
      }
    }
  }

  private mutating func tell(_ what: String, _ id: FlowID) {
    tell("\(tuples[id].map { "\($0)" } ?? "a flow"): \(what)")
  }

  private mutating func forget(_ id: FlowID) {
    if let tuple = tuples.removeValue(forKey: id) { flows[tuple] = nil }
  }

  // MARK: To applications

  /// Does what a site did that led to this packet.
  private mutating func answer(_ bytes: [UInt8]) {
    guard let packet = try? ParsedPacket(parsing: bytes.span), let tuple = packet.fiveTuple?.reversed else { return }
    switch packet.transport {
    case .tcp(let header): answer(header, tuple, packet, bytes)
    case .udp:
      guard let flow = flows[tuple], let slice = payload(packet, bytes) else { return }
      stack.sendDatagram(flow.id, slice, pool: &pool, now: now)
    case .icmp, .fragment, .other: break
    }
  }

  private mutating func answer(_ header: TCPHeader, _ tuple: FiveTuple, _ packet: ParsedPacket, _ bytes: [UInt8]) {
    guard var flow = flows[tuple] else { return }
    if header.flags.contains(.rst) {
      if flow.isAccepted {
        stack.abort(flow.id, pool: &pool, now: now)
      } else {
        stack.refuse(flow.id, .reset, pool: &pool, now: now)
      }
      tell("cut by the site", flow.id)
      return forget(flow.id)
    }
    if header.flags.contains(.syn) {
      flow.captured = header.sequence
      flow.next = header.sequence &+ 1
      if !flow.isAccepted { stack.accept(flow.id, pool: &pool, now: now) }
      flow.isAccepted = true
      flows[tuple] = flow
      return
    }
    guard flow.isAccepted, !flow.isFinished else { return }
    // What was sent again was handed over before.
    let known = Int(Int32(bitPattern: flow.next &- header.sequence))
    if known >= 0, known < packet.payloadLength, let slice = payload(packet, bytes) {
      let rest = slice.dropping(known)
      outcome.bytesToApplications += rest.count
      flow.next = header.sequence &+ UInt32(truncatingIfNeeded: packet.payloadLength)
      stack.send(flow.id, rest, pool: &pool, now: now)
    }
    if header.flags.contains(.fin), flow.next == header.sequence &+ UInt32(truncatingIfNeeded: packet.payloadLength) {
      flow.isFinished = true
      stack.finish(flow.id, now: now)
    }
    flows[tuple] = flow
  }

  private mutating func payload(_ packet: ParsedPacket, _ bytes: [UInt8]) -> Slice? {
    let end = packet.payloadOffset + packet.payloadLength
    return pool.copy(bytes.span.extracting(packet.payloadOffset..<end), in: &lane)
  }

  /// Takes what the stack sends: where its sequence numbers begin is all that is wanted of it.
  private mutating func settle() {
    takeEvents()
    while stack.nextTransmit(into: &transmit, pool: &pool, now: now) {
      let header: TCPHeader? = transmit.withHeader { span in
        let start = span.isEmpty ? 0 : span[0] >> 4 == 4 ? IPv4Header.minimumSize : IPv6Header.size
        guard start > 0, start < span.count else { return nil }
        return try? TCPHeader(parsing: span.extracting(start..<span.count))
      }
      let tuple: FiveTuple? = transmit.withHeader { FiveTuple(peeking: $0) }?.reversed
      transmit.clear(pool: &pool)
      if let header, let tuple, tuple.protocol == .tcp, header.flags.contains([.syn, .ack]) {
        flows[tuple]?.own = header.sequence
      }
    }
  }
}

/// Changes to a captured segment, so that it fits a stack with other numbers. Checksums aren't kept.
enum ReplayedSegment {
  static func setAcknowledgement(_ value: UInt32, in bytes: inout [UInt8], _ packet: ParsedPacket) {
    for index in 0..<4 {
      bytes[packet.ipHeaderLength + 8 + index] = UInt8(truncatingIfNeeded: value >> UInt32(24 - 8 * index))
    }
  }

  /// Makes no-operations of timestamps, of SACK blocks, and of the permission to send them.
  static func neutralizeOptions(in bytes: inout [UInt8], _ packet: ParsedPacket) {
    var place = packet.ipHeaderLength + TCPHeader.minimumSize
    let end = packet.ipHeaderLength + packet.transportHeaderLength
    while place < end {
      let kind = bytes[place]
      guard kind != 0 else { return }
      guard kind != 1 else {
        place += 1
        continue
      }
      guard place + 1 < end, bytes[place + 1] >= 2, place + Int(bytes[place + 1]) <= end else { return }
      let next = place + Int(bytes[place + 1])
      if kind == 4 || kind == 5 || kind == 8 {
        for index in place..<next { bytes[index] = 1 }
      }
      place = next
    }
  }
}
