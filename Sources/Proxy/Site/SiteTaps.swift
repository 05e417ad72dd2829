import Framing
import Kernel
import Packet
import Primitives
import Tun

/// The captures of a session on the site's side, and what they know of its flows.
///
/// Devices' sockets carry payload, so that packets are made up for it, between the socket's two ends and in the order in
/// which the payload passes: see `SyntheticFlow`.
struct SiteTaps {
  struct Flow {
    var packets: SyntheticFlow
    let comment: [UInt8]
    /// For each capture: the interface that its packets belong to; `nil` if they aren't wanted.
    let interfaces: [Int?]
  }

  private(set) var captures: [Capture] = []
  var flows: [SlotID: Flow] = [:]

  mutating func replace(_ captures: [Capture]) {
    self.captures = captures
    flows = [:]
  }

  func interfaces(agent: String, flow: String, isDrop: Bool) -> [Int?] {
    captures.map { capture in
      let wanted = capture.configuration
      guard capture.takes(.raw), wanted.agent == nil || wanted.agent == agent,
        wanted.flow == nil || wanted.flow == flow,
        !wanted.onlyDrops || isDrop
      else { return nil }
      return capture.number(
        of: CaptureInterface(
          agent, description: "plaintext of agent \(agent) at the site: packets are made up for what its sockets carry")
      )
    }
  }

  /// Hands one packet to those captures that want it.
  func record(
    _ header: [UInt8], payload: Slice? = nil, _ interfaces: [Int?], from side: SyntheticFlow.Side, comment: [UInt8],
    pool: borrowing SlabPool
  ) {
    let time = Clock.unixNanoseconds
    let slices = payload.map { [$0] } ?? []
    for index in captures.indices where index < interfaces.count {
      guard let interface = interfaces[index] else { continue }
      captures[index].record(
        interface, side == .near ? .outbound : .inbound, at: time, comment: comment, header: header.span,
        payload: slices.span, pool: pool)
    }
  }
}

extension SiteLoop {
  mutating func replaceCaptures(_ captures: [Capture]) {
    taps.replace(captures)
    isTapped = !captures.isEmpty
    for key in ethernet.keys { ethernet.table[key].tap = nil }
  }

  // MARK: Streams

  /// A TCP connection to a device stands.
  mutating func tapOpened(_ key: SlotID) {
    guard flows[key].kind == .tcp else { return }
    var flow = tapped(key, isNew: true)
    // Who listens for a device's connection is called by it.
    let (caller, called): (SyntheticFlow.Side, SyntheticFlow.Side) =
      flows[key].control == nil ? (.near, .far) : (.far, .near)
    let handshake: [(SyntheticFlow.Side, TCPFlags)] = [(caller, .syn), (called, [.syn, .ack]), (caller, .ack)]
    for (side, flags) in handshake {
      let header = flow.packets.segment(from: side, flags)
      taps.record(header, flow.interfaces, from: side, comment: flow.comment, pool: pool)
    }
    taps.flows[key] = flow
  }

  /// Bytes of a stream pass. Those of a service, such as a capture, are not payload of a device.
  mutating func tap(_ slice: Slice, from side: SyntheticFlow.Side, _ key: SlotID) {
    guard flows[key].kind == .tcp else { return }
    var flow = tapped(key)
    var rest = slice
    while !rest.isEmpty {
      let part = rest.prefix(min(rest.count, SyntheticFlow.payloadLimit))
      rest = rest.dropping(part.count)
      let sum = pool.withSpan(part) { Checksum.sum($0) }
      let header = flow.packets.segment(from: side, [.psh, .ack], payloadCount: part.count, payloadSum: sum)
      taps.record(header, payload: part, flow.interfaces, from: side, comment: flow.comment, pool: pool)
    }
    taps.flows[key] = flow
  }

  /// One end of a connection has sent everything.
  mutating func tapFinished(from side: SyntheticFlow.Side, _ key: SlotID) {
    guard flows[key].kind == .tcp else { return }
    var flow = tapped(key)
    let header = flow.packets.segment(from: side, [.fin, .ack])
    taps.record(header, flow.interfaces, from: side, comment: flow.comment, pool: pool)
    taps.flows[key] = flow
  }

  /// A flow is over.
  mutating func tapEnded(_ key: SlotID, reset: Bool, _ end: FlowEnd?) {
    defer { taps.flows[key] = nil }
    guard let end, flows[key].kind == .tcp, flows[key].phase == .open else { return }
    var flow = tapped(key)
    let side: SyntheticFlow.Side = end == .reset(.device) ? .far : .near
    let header =
      reset || side == .far ? flow.packets.segment(from: side, [.rst, .ack]) : flow.packets.segment(from: side, .ack)
    let comment = flow.comment + Array("; ended: \(end)".utf8)
    taps.record(header, flow.interfaces, from: side, comment: comment, pool: pool)
  }

  // MARK: Datagrams

  mutating func tapDatagram(_ slice: Slice, from side: SyntheticFlow.Side, _ key: SlotID) {
    let flow = tapped(key)
    let sum = pool.withSpan(slice) { Checksum.sum($0) }
    let header =
      flows[key].kind == .icmp
      ? flow.packets.echo(from: side, payloadCount: slice.count, payloadSum: sum)
      : flow.packets.datagram(from: side, payloadCount: slice.count, payloadSum: sum)
    taps.record(header, payload: slice, flow.interfaces, from: side, comment: flow.comment, pool: pool)
    taps.flows[key] = flow
  }

  // MARK: Refusals

  /// A device wasn't reached.
  mutating func tapRefused(_ key: SlotID, _ refusal: Refusal) {
    guard flows[key].kind == .tcp else { return }
    let name = "\(ConnectionID(id, flows[key].id))"
    let interfaces = taps.interfaces(agent: flows[key].agent, flow: name, isDrop: true)
    let comment = Array("agent \(flows[key].agent); flow \(name); refused: \(refusal)".utf8)
    var packets = tapped(key, isNew: true).packets
    let request = packets.segment(from: .near, .syn)
    taps.record(request, interfaces, from: .near, comment: comment, pool: pool)
    if refusal.reason == .deviceRefused {
      let answer = packets.segment(from: .far, [.rst, .ack])
      taps.record(answer, interfaces, from: .far, comment: comment, pool: pool)
    }
    taps.flows[key] = nil
  }

  /// A flow was refused before anything was dialled: a packet without addresses stands for what was asked for.
  mutating func tapRefused(_ request: OpenRequest, _ stream: StreamID, _ refusal: Refusal) {
    let name = "\(ConnectionID(id, stream))"
    guard let transport = request.protocol.transport else { return }
    let interfaces = taps.interfaces(agent: request.agent, flow: name, isDrop: true)
    let nowhere = IPAddress(v4: 0)
    var packets = SyntheticFlow(transport, near: Endpoint(nowhere, 0), far: Endpoint(nowhere, request.port))
    let header =
      switch transport {
      case .tcp: packets.segment(from: .near, .syn)
      case .icmp: packets.echo(from: .near, payloadCount: 0, payloadSum: 0) + [0, 0, 0, 0]
      case .udp: packets.datagram(from: .near, payloadCount: 0, payloadSum: 0)
      }
    let comment = Array("agent \(request.agent); flow \(name); refused: \(refusal)".utf8)
    taps.record(header, interfaces, from: .near, comment: comment, pool: pool)
  }

  /// What the captures know of a flow; one that began before them is taken up in the middle.
  private func tapped(_ key: SlotID, isNew: Bool = false) -> SiteTaps.Flow {
    if let known = taps.flows[key] { return known }
    let target = flows[key].target
    let near = Socket.localEndpoint(flows[key].socket) ?? Endpoint(target.address, 0)
    var packets = SyntheticFlow(flows[key].kind.transport ?? .tcp, near: near, far: target)
    if !isNew { packets.resume() }
    let name = "\(ConnectionID(id, flows[key].id))"
    return SiteTaps.Flow(
      packets: packets, comment: Array("agent \(flows[key].agent); flow \(name); permitted".utf8),
      interfaces: taps.interfaces(agent: flows[key].agent, flow: name, isDrop: false))
  }
}
