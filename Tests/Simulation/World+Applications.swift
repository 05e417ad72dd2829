import Packet
import Primitives
import Stack

/// The applications of a world: what their sockets tell them, and what they do.
extension World {
  func connect(_ index: Int) {
    let plan = connections[index].plan
    let address = plan.isV6 ? alias.v6?.address : alias.v4?.address
    guard let address else { return problems.append("no alias") }
    let source = plan.isV6 ? IPAddress("fd00::1")! : IPAddress(10, 0, 0, 1)
    do throws(StackError) {
      let flow = try applications.stack.connect(
        from: Endpoint(source, Self.firstApplicationPort + UInt16(index)),
        to: Endpoint(address, Self.port(of: index)), now: network.now)
      connections[index].flow = flow
      applications.connectionOf[flow] = index
      applications.stack.setReceiveCredit(flow, plan.application.buffer, now: network.now)
      applications.needsFlush = true
    } catch {
      problems.append("connection \(index): \(error)")
    }
  }

  func takeApplicationEvents() {
    let now = network.now
    while let event = applications.stack.nextEvent() {
      switch event {
      case .established(let flow):
        guard let index = applications.connectionOf[flow] else { continue }
        connections[index].application.opened(now: now)
        network.trace.say(now, "application \(index)", "connected")
        act(index)
      case .received(let flow, let slice):
        guard let index = applications.connectionOf[flow] else {
          applications.pool.release(slice)
          continue
        }
        let actor = connections[index].application
        if actor.hasClosed {
          // Nobody is there to read it.
          applications.stack.abort(flow, pool: &applications.pool, now: now)
          connections[index].application.didReset()
        } else {
          applications.pool.withSpan(slice) { connections[index].application.receive($0, isRead: false) }
          let actor = connections[index].application
          if actor.unread > actor.plan.buffer {
            problems.append("connection \(index): \(actor.unread) bytes in a buffer of \(actor.plan.buffer)")
          }
        }
        applications.pool.release(slice)
        act(index)
      case .acknowledged(let flow, _):
        if let index = applications.connectionOf[flow] { act(index) }
      case .finished(let flow):
        guard let index = applications.connectionOf[flow] else { continue }
        network.trace.say(now, "application \(index)", "sees the end")
        connections[index].application.receiveFinish(now: now)
        act(index)
      case .reset(let flow, let cause):
        guard let index = applications.connectionOf[flow] else { continue }
        network.trace.say(now, "application \(index)", "sees a reset: \(cause)")
        let failure: Actor.Failure =
          switch cause {
          case .byApplication: .reset
          case .refused: .refused
          case .timedOut: .timedOut
          }
        connections[index].application.fail(failure)
      case .closed: break
      case .datagram(_, let slice), .echoRequested(_, let slice): applications.pool.release(slice)
      case .openRequested, .datagramFlowRequested, .datagramRejected, .datagramFlowExpired: break
      }
    }
  }

  /// Lets an application do what it has to do.
  func act(_ index: Int) {
    guard let flow = connections[index].flow else { return }
    let now = network.now
    while true {
      let actor = connections[index].application
      let room = max(0, ApplicationHost.sendBuffer - applications.stack.unacknowledged(flow))
      let step = connections[index].application.next(
        room: room, readable: actor.unread, &network.random, now: now)
      applications.needsFlush = true
      if network.trace.isWanted { tell("application \(index)", step) }
      switch step {
      case .send(let count):
        guard applications.send(flow, count, key: actor.sendKey, from: actor.sent, now: now) else {
          problems.append("connection \(index): no memory for the application")
          return
        }
        connections[index].application.didSend(count)
      case .read(let count):
        connections[index].application.didRead(count)
        applications.stack.setReceiveCredit(
          flow, actor.plan.buffer - connections[index].application.unread, now: now)
      case .finish:
        applications.stack.finish(flow, now: now)
        connections[index].application.didFinish(now: now)
      case .close where actor.unread == 0:
        applications.stack.finish(flow, now: now)
        connections[index].application.didClose(now: now)
      case .close, .reset, .vanish:
        applications.stack.abort(flow, pool: &applications.pool, now: now)
        connections[index].application.didReset()
      case .sleep(let time):
        if let time { network.agenda.book(.application(connection: index), at: max(time, now + .microseconds(1))) }
        return
      }
    }
  }

  func tell(_ who: String, _ step: Actor.Step) {
    switch step {
    case .sleep: break
    default: network.trace.say(network.now, who, "\(step)")
    }
  }
}
