import Framing
import Primitives
import Proxy

/// The devices of a world: how the site reaches them, and what they do.
extension World {
  func beginDials() {
    while let (flow, port) = site.dials.popFirst() {
      guard site.flows.contains(flow) else { continue }
      let index = Int(port) - Int(Self.firstPort)
      guard connections.indices.contains(index) else { return problems.append("a dial to port \(port)") }
      let plan = connections[index].plan
      let wire = network.addWire(
        capacity: plan.device.buffer, latency: .microseconds(200), jitter: .microseconds(200))
      let dial = dials.count
      dials.append(
        Dial(
          connection: index, flow: flow, wire: wire,
          device: Actor(plan.device, sendKey: 2 * index + 1, receiveKey: 2 * index)))
      connections[index].dials.append(dial)
      dialOfWire[wire] = dial
      site.flows[flow].wire = wire
      network.trace.say(network.now, "site", "dials device \(index): dial \(dial)")
      if plan.dial != .silence { network.agenda.book(.dialled(dial: dial), at: network.now + plan.dialTime) }
    }
  }

  func dialled(_ dial: Int) {
    let flow = dials[dial].flow
    // Given up meanwhile: the device has never heard of it, or has forgotten it.
    guard site.end == nil, site.flows.contains(flow) else { return }
    switch connections[dials[dial].connection].plan.dial {
    case .accept:
      dials[dial].device.opened(now: network.now)
      site.dialled(flow, nil, &network)
      actDevice(dial)
    case .refuse: site.dialled(flow, Refusal(.deviceRefused), &network)
    case .unreachable: site.dialled(flow, Refusal(.hostUnreachable), &network)
    case .silence: break
    }
    turn(.site)
  }

  func deviceReady(_ dial: Int, _ event: WireEvent) {
    if case .failure(_, let error) = event, network.wires[dials[dial].wire].readable(1) == 0 {
      network.trace.say(network.now, "device \(dials[dial].connection)", "sees \(error)")
      dials[dial].device.fail(error == .timedOut ? .timedOut : .reset)
    }
    actDevice(dial)
  }

  /// Lets a device do what it has to do.
  func actDevice(_ dial: Int) {
    let wire = dials[dial].wire
    let now = network.now
    while true {
      let actor = dials[dial].device
      let readable = network.wires[wire].readable(1)
      if readable == 0, !actor.isOver, !actor.hasClosed, actor.openedAt != nil {
        switch network.wires[wire].look(1) {
        case .ended where !actor.sawFinish:
          network.trace.say(now, "device \(dials[dial].connection)", "sees the end")
          dials[dial].device.receiveFinish(now: now)
        case .failed(let error): dials[dial].device.fail(error == .timedOut ? .timedOut : .reset)
        default: break
        }
      }
      let step = dials[dial].device.next(
        room: network.wires[wire].room(1), readable: readable, &network.random, now: now)
      if network.trace.isWanted { tell("device \(dials[dial].connection)", step) }
      switch step {
      case .send(let count):
        var bytes = [UInt8](repeating: 0, count: count)
        var span = bytes.mutableSpan
        Pattern.write(actor.sendKey, from: actor.sent, into: &span)
        let moved = network.write(wire, 1, bytes.span) ?? 0
        dials[dial].device.didSend(moved)
        if moved == 0 { dials[dial].device.fail(.reset) }
      case .read(let count):
        network.take(wire, 1, count) { bytes in
          dials[dial].device.receive(bytes, isRead: true)
        }
      case .finish:
        network.finish(wire, 1)
        dials[dial].device.didFinish(now: now)
      case .close:
        network.close(wire, 1, reset: false)
        if readable > 0 { dials[dial].device.didReset() } else { dials[dial].device.didClose(now: now) }
      case .reset:
        network.close(wire, 1, reset: true)
        dials[dial].device.didReset()
      case .vanish:
        network.die(wire, 1, after: .seconds(60))
        dials[dial].device.didReset()
      case .sleep(let time):
        if dials[dial].device.isComplete { network.close(wire, 1, reset: false) }
        if let time { network.agenda.book(.device(dial: dial), at: max(time, now + .microseconds(1))) }
        return
      }
    }
  }
}
