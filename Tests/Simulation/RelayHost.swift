import Primitives
import Proxy

/// GateManager's relay: two real pumps, driven in the order of `RelayLoop`.
struct RelayHost {
  var forward = RelayPump()
  var backward = RelayPump()
  private var forwardPipe = ByteQueue()
  private var backwardPipe = ByteQueue()
  /// The wires to LinkManager, of which it is end 1, and to SiteManager, of which it is end 0.
  let toLink: Int
  let toSite: Int
  private let pipeSize: Int
  private(set) var isOver = false
  private var failure: WireError?
  var isQueued = false

  /// Splices in a row for one direction, before the other has its turn.
  private static let budget = 4

  init(toLink: Int, toSite: Int, pipeSize: Int) {
    self.toLink = toLink
    self.toSite = toSite
    self.pipeSize = pipeSize
  }

  mutating func became(_ event: WireEvent, onLink: Bool, _ network: Network) {
    switch event {
    case .bytes, .finish:
      if onLink { forward.sourceIsReady() } else { backward.sourceIsReady() }
    case .room:
      if onLink { backward.sinkIsReady() } else { forward.sinkIsReady() }
    case .failure(_, let error): failure = failure ?? error
    }
  }

  /// - Returns: whether there is more to do.
  mutating func turn(_ network: inout Network) -> Bool {
    guard !isOver else { return false }
    var isBusy = false
    if failure == nil {
      let left = Self.move(
        &forward, &forwardPipe, pipeSize, from: (toLink, 1), to: (toSite, 0), &failure, &network)
      let right = Self.move(
        &backward, &backwardPipe, pipeSize, from: (toSite, 0), to: (toLink, 1), &failure, &network)
      isBusy = left || right
    }
    if failure != nil {
      end(reset: true, &network)
    } else if forward.isDone, backward.isDone {
      end(reset: false, &network)
    }
    return isBusy && !isOver
  }

  mutating func end(reset: Bool, _ network: inout Network) {
    guard !isOver else { return }
    network.trace.say(network.now, "relay", reset ? "resets both ends" : "finished")
    isOver = true
    network.close(toLink, 1, reset: reset)
    network.close(toSite, 0, reset: reset)
  }

  /// - Returns: whether the budget ended before the work did.
  private static func move(
    _ pump: inout RelayPump, _ pipe: inout ByteQueue, _ pipeSize: Int, from source: (wire: Int, end: Int),
    to sink: (wire: Int, end: Int), _ failure: inout WireError?, _ network: inout Network
  ) -> Bool {
    var left = budget
    while left > 0 {
      switch pump.next {
      case .wait, .done: return false
      case .finish:
        network.finish(sink.wire, sink.end)
        pump.finished()
      case .fill:
        left -= 1
        switch network.wires[source.wire].look(source.end) {
        case .moved(let available):
          // splice(2) stops where it likes.
          let most = min(available, pipeSize)
          let count = network.random.chance(0.2) ? Int.random(in: 1...most, using: &network.random) : most
          network.wires[source.wire].move(
            source.end, count, to: &pipe, &network.agenda, index: source.wire, now: network.now)
          pump.filled(.moved(count))
        case .wouldBlock: pump.filled(.wouldBlock)
        case .ended: pump.filled(.ended)
        case .failed(let error):
          pump.filled(.failed(error.systemError.code))
          failure = error
        }
      case .drain(let count):
        left -= 1
        let part = network.random.chance(0.2) ? Int.random(in: 1...count, using: &network.random) : count
        let moved = network.wires[sink.wire].splice(
          sink.end, from: &pipe, part, &network.agenda, &network.random, index: sink.wire, now: network.now)
        switch moved {
        case nil:
          pump.drained(.failed(WireError.reset.systemError.code))
          failure = .reset
        case 0: pump.drained(.wouldBlock)
        case let moved?: pump.drained(.moved(moved))
        }
      }
    }
    return true
  }
}
