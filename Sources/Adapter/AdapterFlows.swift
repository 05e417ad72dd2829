import Framing
import Packet
import Primitives
import Proxy
import Stack

/// Between the stack and the sessions: the filter's decision once a flow, then bytes without a search.
extension AdapterCore {
  // MARK: From applications

  mutating func takeStackEvents(now: Instant) {
    while let event = stack.nextEvent() {
      switch event {
      case .received(let flow, let slice):
        guard let id = bindingOfFlow[flow] else {
          pool.release(slice)
          continue
        }
        if bindings[id].isFTPControl { takeCommands(slice, id, now: now) } else { send(slice, from: id, now: now) }
      case .datagram(let flow, let slice):
        guard let id = datagramBinding(flow) else {
          pool.release(slice)
          continue
        }
        // Not the binding itself: a copy of it counts references.
        let (site, stream) = (bindings[id].site, bindings[id].stream)
        sites[site].peer.session.sendDatagram(stream, slice, pool: &pool)
      case .acknowledged(let flow, let count):
        guard let id = bindingOfFlow[flow] else { continue }
        let binding = bindings[id]
        if binding.isFTPControl {
          acknowledgedReplies(id, flow, count, now: now)
        } else {
          sites[binding.site].peer.session.consumed(binding.stream, count, now: now)
        }
      case .openRequested(let flow, let tuple): openFlow(flow, tuple, .tcp, now: now)
      case .datagramFlowRequested(let flow, let tuple): openFlow(flow, tuple, .udp, now: now)
      case .finished(let flow):
        guard let id = bindingOfFlow[flow] else { continue }
        let binding = bindings[id]
        if binding.isFTPControl {
          finishCommands(id, now: now)
        } else {
          sites[binding.site].peer.session.finish(binding.stream)
        }
      case .reset(let flow, let cause):
        guard let id = bindingOfFlow[flow] else { continue }
        let binding = bindings[id]
        let isTimeout = cause == .timedOut
        sites[binding.site].peer.session.reset(binding.stream, isTimeout ? .timedOut : .reset, pool: &pool)
        unbind(id, isTimeout ? .timedOut(.application) : .reset(.application), now: now)
      case .closed(let flow):
        if let id = bindingOfFlow[flow] { unbind(id, .finished, now: now) }
      case .datagramFlowExpired(let flow), .datagramRejected(let flow):
        guard let id = bindingOfFlow[flow], event == .datagramFlowExpired(flow) else { continue }
        let binding = bindings[id]
        sites[binding.site].peer.session.reset(binding.stream, .limit, pool: &pool)
        unbind(id, .idle, now: now)
      case .echoRequested(let echo, let slice): forward(echo, slice, now: now)
      case .established(let flow):
        // One that this end has opened, for a device's connection; the others have their credit already.
        guard let id = bindingOfFlow[flow], !bindings[id].isFTPControl else { continue }
        let binding = bindings[id]
        stack.setReceiveCredit(flow, sites[binding.site].peer.session.sendCredit(binding.stream), now: now)
      }
    }
  }

  /// The binding of a flow of datagrams. They come in runs, so that the last one's is mostly this one's.
  private mutating func datagramBinding(_ flow: FlowID) -> SlotID? {
    if bindings.contains(lastDatagramBinding), case .flow(flow) = bindings[lastDatagramBinding].end {
      return lastDatagramBinding
    }
    guard let id = bindingOfFlow[flow] else { return nil }
    lastDatagramBinding = id
    return id
  }

  private mutating func send(_ slice: Slice, from id: SlotID, now: Instant) {
    let binding = bindings[id]
    do throws(SessionError) {
      try sites[binding.site].peer.session.send(binding.stream, slice, pool: &pool)
    } catch {
      // The stack advertises no more than the credit: an application can't get here.
      sites[binding.site].peer.session.reset(binding.stream, .internalError, pool: &pool)
      cut(id, .reset, .failed(.link), now: now)
    }
  }

  private mutating func openFlow(_ flow: FlowID, _ tuple: FiveTuple, _ transport: TransportProtocol, now: Instant) {
    var verdict = table.verdict(transport, tuple.destination)
    if case .denied(let denial) = verdict, takeAnnounced(denial, tuple.destination, now: now),
      let (alias, offset) = table.alias(of: tuple.destination.address)
    {
      verdict = .permitted(alias, hostOffset: offset)
    }
    switch verdict {
    case .denied(let denial):
      refusals.add(
        transport, tuple.destination, label: denial.label, reason: denial.description, connection: nil, now: now)
      reportDenial(denial.description, transport, from: tuple.source, to: tuple.destination)
      stack.refuse(flow, .unreachable(.adminProhibited), pool: &pool, now: now)
    case .permitted(let alias, let offset):
      do throws(Framing.Refusal) {
        let id = try open(.flow(flow), alias, transport, from: tuple.source, tuple.destination, offset, now: now)
        bindingOfFlow[flow] = id
        if transport == .tcp, alias.agent.ftp.contains(where: { $0.contains(tuple.destination.port) }) {
          bindings[id].isFTPControl = true
          ftp[id] = FTPConnection(alias: tuple.destination.address)
        }
        // Datagrams need no answer first: the site judges each flow before it passes one on.
        if transport == .udp { stack.acceptDatagrams(flow, pool: &pool, now: now) }
      } catch {
        refusals.add(
          transport, tuple.destination, label: "\(error.reason)", reason: "\(alias.name): \(error)", connection: nil,
          now: now)
        reportDenial("\(alias.name): \(error)", transport, from: tuple.source, to: tuple.destination)
        stack.refuse(flow, error.reason.answer, pool: &pool, now: now)
      }
    }
  }

  /// Asks the site for a stream and joins it with its end on this host.
  mutating func open(
    _ end: FlowBinding.End, _ alias: AgentAlias, _ transport: TransportProtocol, from application: Endpoint?,
    _ destination: Endpoint, _ hostOffset: UInt128?, now: Instant
  ) throws(Framing.Refusal) -> SlotID {
    let request = OpenRequest(
      agent: alias.agent.name, transport: transport, port: transport == .icmp ? 0 : destination.port,
      hostOffset: hostOffset)
    return try open(end, alias, request, from: application, destination, now: now)
  }

  /// The same for any request.
  mutating func open(
    _ end: FlowBinding.End, _ alias: AgentAlias, _ request: OpenRequest, from application: Endpoint?,
    _ destination: Endpoint, now: Instant
  ) throws(Framing.Refusal) -> SlotID {
    guard let site = siteIDs[alias.site], sites.contains(site), sites[site].endDeadline == nil else {
      throw Framing.Refusal(.sessionEnded)
    }
    guard !bindings.isFull else { throw Framing.Refusal(.tooMany, "\(bindings.count) flows are open") }
    let stream = try sites[site].peer.session.open(request, tag: 0)
    guard
      let id = bindings.insert(
        FlowBinding(
          end: end, site: site, stream: stream, kind: request.protocol, destination: destination,
          agent: alias.agent.name, application: application, since: now))
    else { throw Framing.Refusal(.tooMany) }
    sites[site].peer.session.setTag(id.token, of: stream)
    sites[site].flowsByAgent[alias.agent.name, default: 0] += 1
    return id
  }

  // MARK: From sites

  /// - Parameter limiter: who it was if a stream was cut because of a bound.
  mutating func takeSessionEvents(_ site: SlotID, limitedBy limiter: FlowEnd.Party = .site, now: Instant) {
    while sites.contains(site), let event = sites[site].peer.session.nextEvent() {
      switch event {
      case .data(let stream, let slice): deliver(slice, to: binding(site, stream), site, stream, now: now)
      case .datagram(let stream, let slice):
        guard let id = binding(site, stream), case .flow(let flow) = bindings[id].end else {
          pool.release(slice)
          continue
        }
        stack.sendDatagram(flow, slice, pool: &pool, now: now)
      case .echo(let stream, let slice): answerEcho(slice, binding(site, stream), now: now)
      case .opened(let stream): opened(binding(site, stream), site, stream, now: now)
      case .refused(let stream): refused(binding(site, stream), site, stream, now: now)
      case .writable(let stream):
        guard let id = binding(site, stream) else { continue }
        let credit = sites[site].peer.session.sendCredit(stream)
        switch bindings[id].end {
        case .flow(let flow) where bindings[id].isFTPControl: sendCommands(id, flow, now: now)
        case .flow(let flow): stack.setReceiveCredit(flow, credit, now: now)
        case .local(let local): pump(local, id)
        case .echo, .awaited: break
        }
      case .finished(let stream):
        guard let id = binding(site, stream) else { continue }
        switch bindings[id].end {
        case .flow(let flow):
          if bindings[id].isFTPControl { finishReplies(id, now: now) }
          stack.finish(flow, now: now)
        case .local(let local): local.receiveEnd()
        case .echo, .awaited: break
        }
      case .reset(let stream, let code):
        guard let id = binding(site, stream) else { continue }
        cut(id, code, FlowEnd(code, from: .device, at: limiter, bindings[id].kind), now: now)
      case .closed(let stream):
        // The stack's connection goes on until the application has everything.
        guard let id = binding(site, stream) else { continue }
        if case .local = bindings[id].end {
          unbind(id, .finished, now: now)
        } else {
          bindings[id].outcome = sites[site].peer.session.status(of: stream)
        }
      case .listening(let stream): if let id = binding(site, stream) { listening(id, now: now) }
      case .openRequested, .listenRequested, .goingAway: break
      case .ended: endSite(site, .finished(sites[site].peer.session.peerGoodbye), now: now)
      }
    }
  }

  private func binding(_ site: SlotID, _ stream: StreamID) -> SlotID? {
    guard let token = sites[site].peer.session.tag(of: stream) else { return nil }
    let id = SlotID(token: token)
    return bindings.contains(id) && bindings[id].stream == stream ? id : nil
  }

  private mutating func deliver(_ slice: Slice, to id: SlotID?, _ site: SlotID, _ stream: StreamID, now: Instant) {
    guard let id else {
      pool.release(slice)
      return
    }
    switch bindings[id].end {
    case .flow where bindings[id].isFTPControl: takeReplies(slice, id, now: now)
    case .flow(let flow): stack.send(flow, pool.compact(slice), pool: &pool, now: now)
    case .local(let local):
      local.receive(pool.array(slice))
      pool.release(slice)
    case .echo, .awaited: pool.release(slice)
    }
  }

  private mutating func opened(_ id: SlotID?, _ site: SlotID, _ stream: StreamID, now: Instant) {
    guard let id else { return }
    let dial = now - bindings[id].since
    bindings[id].dial = dial
    report(.opened(dial), bindings[id], now: now)
    switch bindings[id].end {
    case .flow(let flow) where bindings[id].isFTPControl:
      sendCommands(id, flow, now: now)
      stack.accept(flow, pool: &pool, now: now)
    case .flow(let flow) where !flow.isDatagram:
      stack.setReceiveCredit(flow, sites[site].peer.session.sendCredit(stream), now: now)
      stack.accept(flow, pool: &pool, now: now)
    case .local(let local):
      local.receiveOpened(id)
      pump(local, id)
    case .awaited: connectData(id, now: now)
    default: break
    }
  }

  private mutating func refused(_ id: SlotID?, _ site: SlotID, _ stream: StreamID, now: Instant) {
    let refusal = sites[site].peer.session.refusal(of: stream) ?? Framing.Refusal(.siteError)
    guard let id else { return }
    let binding = bindings[id]
    if let transport = binding.kind.transport {
      refusals.add(
        transport, binding.destination, label: "\(refusal.reason)",
        reason: "\(sites[site].name)/\(binding.agent): \(refusal)", connection: connection(of: binding), now: now)
    }
    report(.refused(refusal), binding, now: now)
    switch binding.end {
    case .flow(let flow): stack.refuse(flow, refusal.reason.answer, pool: &pool, now: now)
    case .local(let local): local.receiveRefusal(refusal)
    case .awaited: endAwaited(id, now: now)
    case .echo: break
    }
    unbind(id, nil, now: now)
  }

  // MARK: Ends

  /// Forgets a binding; what it joined is dealt with by the caller.
  ///
  /// - Parameter end: for the log; `nil` for a flow that was refused.
  mutating func unbind(_ id: SlotID, _ end: FlowEnd?, now: Instant) {
    guard let binding = bindings.remove(id) else { return }
    if binding.isFTPControl { endControl(id, now: now) }
    if let end { report(.ended(end), binding, now: now) }
    switch binding.end {
    case .flow(let flow): bindingOfFlow[flow] = nil
    case .echo(let key): bindingOfEcho[key] = nil
    case .local, .awaited: break
    }
    guard sites.contains(binding.site) else { return }
    sites[binding.site].flowsByAgent[binding.agent, default: 1] -= 1
  }

  /// Ends a flow on this host whose far end is gone: an error, so that nobody takes it for the end of the data.
  mutating func cut(_ id: SlotID, _ code: ResetCode, _ end: FlowEnd, now: Instant) {
    guard bindings.contains(id) else { return }
    switch bindings[id].end {
    case .flow(let flow):
      if flow.isDatagram {
        stack.refuse(flow, code == .reset ? .reset : .silent, pool: &pool, now: now)
      } else {
        stack.abort(flow, pool: &pool, now: now)
      }
    case .local(let local): local.receiveReset(code)
    case .awaited: endAwaited(id, now: now)
    case .echo: break
    }
    unbind(id, end, now: now)
  }
}
