import FuzzDriver
import Packet
import Primitives

@testable import Stack

/// One connection as the application at one end sees it.
struct Application {
  var flow: FlowID
  /// Which connection of the run: both ends know it by its port.
  let number: Int
  var sent = 0
  var acknowledged = 0
  var received = 0
  var isAccepted = false
  var hasFinished = false
  var peerFinished = false
  var isClosed = false
  var wasReset = false
  /// Ended by its own owner, after which it hears nothing.
  var wasAborted = false

  var isOver: Bool { isClosed || wasReset || wasAborted }
}

/// One end: a stack, and the applications of its connections.
struct Host: ~Copyable {
  var stack: Stack
  var transmit = Transmit()
  var applications: [Application] = []
  let isFirst: Bool
  let isV6: Bool

  init(_ configuration: StackConfiguration, isFirst: Bool, isV6: Bool) {
    stack = Stack(configuration: configuration, secret: (7, isFirst ? 1 : 2))
    self.isFirst = isFirst
    self.isV6 = isV6
  }

  static func endpoint(_ number: Int, isFirst: Bool, isV6: Bool) -> Endpoint {
    let address = isV6 ? IPAddress(v6: isFirst ? 1 : 2) : IPAddress(10, 0, 0, isFirst ? 1 : 2)
    return Endpoint(address, isFirst ? 40_000 + UInt16(number) : 80)
  }

  /// The bytes of a direction follow from connection and direction.
  func salt(_ number: Int, outgoing: Bool) -> Int { number * 2 + (outgoing == isFirst ? 1 : 0) }

  mutating func connect(_ number: Int, now: Instant) {
    let local = Self.endpoint(number, isFirst: true, isV6: isV6)
    let remote = Self.endpoint(number, isFirst: false, isV6: isV6)
    if let flow = try? stack.connect(from: local, to: remote, now: now) {
      applications.append(Application(flow: flow, number: number))
    }
  }

  mutating func takeEvents(pool: inout SlabPool) {
    while let event = stack.nextEvent() {
      switch event {
      case .openRequested(let flow, let tuple):
        check(!isFirst, "nobody connects to the first end")
        check(index(flow) == nil, "a request for a flow that is known")
        applications.append(Application(flow: flow, number: Int(tuple.source.port) - 40_000))
      case .established(let flow):
        change(flow) { application in
          check(!application.isAccepted || application.received == 0, "established before data")
        }
      case .received(let flow, let slice):
        guard let index = index(flow) else {
          check(false, "data of a flow that isn't known")
          return
        }
        let number = applications[index].number
        check(!slice.isEmpty, "data has bytes")
        check(!applications[index].peerFinished && !applications[index].isOver, "no data behind the end")
        check(
          Pattern.matches(
            pool, slice, from: applications[index].received, salt: salt(number, outgoing: false)),
          "the bytes that were sent, in order")
        applications[index].received += slice.count
        pool.release(slice)
      case .finished(let flow):
        change(flow) { application in
          check(!application.peerFinished && !application.isOver, "ends once")
          application.peerFinished = true
        }
      case .acknowledged(let flow, let bytes):
        change(flow) { application in
          check(bytes > 0 && !application.isOver, "something was acknowledged")
          application.acknowledged += bytes
          check(application.acknowledged <= application.sent, "no more than was sent")
        }
      case .reset(let flow, _):
        change(flow) { application in
          check(!application.isOver, "ends once")
          application.wasReset = true
        }
      case .closed(let flow):
        change(flow) { application in
          check(!application.isOver, "ends once")
          check(application.peerFinished && application.hasFinished, "closed when both have finished")
          check(application.acknowledged == application.sent, "closed when all is acknowledged")
          application.isClosed = true
        }
      case .datagramFlowRequested, .datagram, .datagramRejected, .datagramFlowExpired, .echoRequested:
        // A bit that was flipped on the way may have made one out of a segment, if no checksum covered it.
        release(event, pool: &pool)
      }
    }
  }

  private func release(_ event: StackEvent, pool: inout SlabPool) {
    switch event {
    case .datagram(_, let slice), .echoRequested(_, let slice): pool.release(slice)
    default: break
    }
  }

  func index(_ flow: FlowID) -> Int? { applications.lastIndex { $0.flow == flow } }

  private mutating func change(_ flow: FlowID, _ body: (inout Application) -> Void) {
    guard let index = index(flow) else { return check(false, "an event of a flow that isn't known") }
    body(&applications[index])
  }

  mutating func send(_ index: Int, _ count: Int, pool: inout SlabPool, lane: inout SlabLane, now: Instant) {
    let application = applications[index]
    guard !application.isOver, !application.hasFinished, application.isAccepted || isFirst,
      let region = pool.reserve(count, in: &lane)
    else { return }
    let slice = pool.commit(region, count: count, in: &lane)
    Pattern.fill(&pool, slice, from: application.sent, salt: salt(application.number, outgoing: true))
    applications[index].sent += count
    stack.send(application.flow, slice, pool: &pool, now: now)
  }

  mutating func finish(_ index: Int, now: Instant) {
    guard !applications[index].isOver else { return }
    applications[index].hasFinished = true
    stack.finish(applications[index].flow, now: now)
  }

  /// What holds at any time.
  func checkBounds() {
    let limits = stack.configuration.limits
    check(stack.connectionCount <= limits.tcpFlows && stack.halfOpenCount <= limits.halfOpen, "bounds of connections")
    check(stack.halfOpenCount >= 0 && stack.halfOpenCount <= stack.connectionCount, "half-open ones are counted")
    check(stack.timeWaitCount <= limits.timeWait, "the bound of TIME-WAIT")
    check(stack.flows.count == stack.connectionCount + stack.datagramFlowCount, "one entry a flow")
  }
}
