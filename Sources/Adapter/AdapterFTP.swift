import Framing
import Packet
import Primitives
import Proxy
import Stack

/// An FTP control connection of an application, and what follows from it.
struct FTPConnection {
  var control: FTPControl
  /// Commands that wait for the site's credit.
  var commands: [UInt8] = []
  /// Bytes of replies that the site has no credit for yet: the application hasn't taken all that became of them.
  var unconsumed = 0
  /// Whether the application has ended its direction.
  var isFinishing = false
  /// The stream that the site listens for, while commands wait for its answer.
  var awaited: SlotID?

  init(alias: IPAddress) {
    control = FTPControl(alias: alias)
  }
}

/// FTP at this end: an application sees the alias where the device names itself, and the device sees the site where the
/// application names itself. What may be opened for a control connection follows from what was said on it.
///
/// The site judges by itself, and what an agent doesn't permit it doesn't do, whatever this end asks for. Byte streams
/// of this process (`LocalStream`) aren't read: who opens them knows no alias.
extension AdapterCore {
  // MARK: From the application

  mutating func takeCommands(_ slice: Slice, _ id: SlotID, now: Instant) {
    let bytes = pool.array(slice)
    pool.release(slice)
    ftp[id]?.control.receiveCommands(bytes.span)
    settle(id, now: now)
  }

  mutating func finishCommands(_ id: SlotID, now: Instant) {
    ftp[id]?.control.finishCommands()
    ftp[id]?.isFinishing = true
    settle(id, now: now)
  }

  /// Decides what is to be decided, and sends on what may go on.
  mutating func settle(_ id: SlotID, now: Instant) {
    while let event = ftp[id]?.control.nextEvent() { decide(event, id, now: now) }
    guard let commands = ftp[id]?.control.takeCommands(), let replies = ftp[id]?.control.takeReplies(),
      case .flow(let flow) = bindings[id].end
    else { return }
    ftp[id]?.commands += commands
    sendCommands(id, flow, now: now)
    guard !replies.isEmpty, ftp[id] != nil else { return }
    guard let slice = pool.copy(replies.span, in: &localLane) else { return cutControl(id, now: now) }
    stack.send(flow, pool.compact(slice), pool: &pool, now: now)
  }

  /// Sends what the site takes; the application may send as much as there is room for then.
  mutating func sendCommands(_ id: SlotID, _ flow: FlowID, now: Instant) {
    guard let connection = ftp[id] else { return }
    let binding = bindings[id]
    let count = min(connection.commands.count, sites[binding.site].peer.session.sendCredit(binding.stream))
    if count > 0 {
      guard let slice = pool.copy(connection.commands.span.extracting(0..<count), in: &localLane) else {
        return cutControl(id, now: now)
      }
      ftp[id]?.commands.removeFirst(count)
      // Within the credit, so that there is nothing that could be thrown.
      try? sites[binding.site].peer.session.send(binding.stream, pool.compact(slice), pool: &pool)
    }
    let left = connection.commands.count - count
    if connection.isFinishing, left == 0 { sites[binding.site].peer.session.finish(binding.stream) }
    let credit = sites[binding.site].peer.session.sendCredit(binding.stream)
    let room = min(credit, configuration.ftp.commands) - left - connection.control.heldCommands
    stack.setReceiveCredit(flow, max(0, room), now: now)
  }

  // MARK: From the device

  mutating func takeReplies(_ slice: Slice, _ id: SlotID, now: Instant) {
    let bytes = pool.array(slice)
    pool.release(slice)
    ftp[id]?.unconsumed += bytes.count
    ftp[id]?.control.receiveReplies(bytes.span)
    settle(id, now: now)
  }

  mutating func finishReplies(_ id: SlotID, now: Instant) {
    ftp[id]?.control.finishReplies()
    settle(id, now: now)
  }

  /// The application has taken so much of what became of the replies, which may have another length.
  mutating func acknowledgedReplies(_ id: SlotID, _ flow: FlowID, _ count: Int, now: Instant) {
    guard let unconsumed = ftp[id]?.unconsumed else { return }
    let taken = stack.unacknowledged(flow) == 0 ? unconsumed : min(count, unconsumed)
    ftp[id]?.unconsumed -= taken
    sites[bindings[id].site].peer.session.consumed(bindings[id].stream, taken, now: now)
  }

  // MARK: Decisions

  private mutating func decide(_ event: FTPControl.Event, _ id: SlotID, now: Instant) {
    let binding = bindings[id]
    switch event {
    case .passive(let port):
      let endpoint = Endpoint(binding.destination.address, port)
      pinholes.open(endpoint, of: pinholeName(binding), by: id, now: now)
    case .active(let client):
      do throws(Framing.Refusal) {
        try listen(for: client, id, now: now)
      } catch {
        ftp[id]?.control.decide(.refuse)
        noteRefused(error, binding, now: now)
      }
    case .spoiled:
      noteRefused(
        Framing.Refusal(.addressNotPermitted, "an FTP client says unintelligibly where it listens"), binding, now: now)
    }
  }

  /// Asks the site to take a connection of the device for the application.
  private mutating func listen(for client: Endpoint, _ id: SlotID, now: Instant) throws(Framing.Refusal) {
    let binding = bindings[id]
    // Else a device's connection could be led to whatever this host reaches (RFC 2577 section 3).
    guard client.address == binding.application?.address, client.port >= FTPControl.lowestDataPort else {
      throw Framing.Refusal(.addressNotPermitted, "an FTP client wants a data connection to \(client)")
    }
    guard !bindings.isFull else { throw Framing.Refusal(.tooMany, "\(bindings.count) flows are open") }
    let stream = try sites[binding.site].peer.session.listen(ListenRequest(control: binding.stream), tag: 0)
    guard
      let data = bindings.insert(
        FlowBinding(
          end: .awaited(control: id), site: binding.site, stream: stream, kind: .tcp,
          destination: Endpoint(binding.destination.address, binding.destination.port &- 1), agent: binding.agent,
          application: client, since: now))
    else { throw Framing.Refusal(.tooMany) }
    sites[binding.site].peer.session.setTag(data.token, of: stream)
    sites[binding.site].flowsByAgent[binding.agent, default: 0] += 1
    ftp[id]?.awaited = data
  }

  /// The site listens: the device is told where.
  mutating func listening(_ data: SlotID, now: Instant) {
    guard case .awaited(let control) = bindings[data].end, ftp[control]?.awaited == data,
      let answer = sites[bindings[data].site].peer.session.listenAnswer(of: bindings[data].stream)
    else { return }
    ftp[control]?.awaited = nil
    ftp[control]?.control.decide(.replace(answer.endpoint))
    settle(control, now: now)
  }

  /// The device's connection is there: it goes on to where the application listens.
  mutating func connectData(_ data: SlotID, now: Instant) {
    let binding = bindings[data]
    guard let client = binding.application else { return }
    do throws(StackError) {
      let flow = try stack.connect(from: binding.destination, to: client, now: now)
      bindings[data].end = .flow(flow)
      bindingOfFlow[flow] = data
    } catch {
      sites[binding.site].peer.session.reset(binding.stream, .internalError, pool: &pool)
      unbind(data, .failed(.link), now: now)
    }
  }

  /// The stream that the site was to listen for has ended before the device came.
  mutating func endAwaited(_ data: SlotID, now: Instant) {
    guard case .awaited(let control) = bindings[data].end, ftp[control]?.awaited == data else { return }
    ftp[control]?.awaited = nil
    ftp[control]?.control.decide(.refuse)
    settle(control, now: now)
  }

  // MARK: Data connections to the device

  /// Whether a control connection has announced a flow that the agent's ports don't permit; then it may pass, once.
  mutating func takeAnnounced(_ denial: Denial, _ destination: Endpoint, now: Instant) -> Bool {
    guard case .portNotPermitted(let alias, .tcp, _) = denial,
      pinholes.contains(destination, of: alias.name, now: now)
    else { return false }
    pinholes.close(destination, of: alias.name)
    return true
  }

  private func pinholeName(_ binding: FlowBinding) -> String { "\(sites[binding.site].name)/\(binding.agent)" }

  // MARK: The end

  /// Takes back what a control connection was allowed that has ended. Data connections that are open go on.
  mutating func endControl(_ id: SlotID, now: Instant) {
    ftp[id] = nil
    pinholes.closeAll(of: id)
    for data in bindings.ids {
      guard case .awaited(let control) = bindings[data].end, control == id else { continue }
      let binding = bindings[data]
      if sites.contains(binding.site) {
        sites[binding.site].peer.session.reset(binding.stream, .reset, pool: &pool)
      }
      unbind(data, .reset(.application), now: now)
    }
  }

  private mutating func cutControl(_ id: SlotID, now: Instant) {
    sites[bindings[id].site].peer.session.reset(bindings[id].stream, .limit, pool: &pool)
    cut(id, .limit, .limit(.link), now: now)
  }

  private mutating func noteRefused(_ refusal: Framing.Refusal, _ binding: FlowBinding, now: Instant) {
    refusals.add(
      .tcp, binding.destination, label: "FTP: \(refusal.reason)", reason: "\(pinholeName(binding)): \(refusal)",
      connection: connection(of: binding), now: now)
    report(.refused(refusal), binding, now: now)
  }
}
