import Framing
import Primitives
import Proxy
import Stack

/// What an application or a device does with its connection.
package struct ActorPlan {
  package enum Ending: Equatable {
    /// Ends its direction once all is sent.
    case finishWhenSent
    /// Ends its direction once all is sent and the other one has ended.
    case finishAfterPeer
    /// Ends its direction once this many bytes were read, whatever is left to send.
    case finishAtRead(Int)
    /// Closes the socket once this many bytes are sent: what still comes is answered with a reset.
    case closeAtSent(Int)
    case closeAtRead(Int)
    case resetAtSent(Int)
    case resetAtRead(Int)
    case resetAfter(Interval)
    /// Is gone without a word.
    case vanishAfter(Interval)
  }

  /// Bytes to send.
  package var size = 0
  package var chunk = 1 << 16
  package var sendPause = Interval.zero
  /// The socket's receive buffer.
  package var buffer = 1 << 20
  package var readChunk = Int.max
  package var readPause = Interval.zero
  package var ending = Ending.finishWhenSent
  /// Time after which it ends its direction, whatever it waits for.
  package var patience = Interval.seconds(60)
}

/// What the device's network answers to a dial.
package enum DialPlan: Equatable {
  case accept, refuse, unreachable, silence
}

package struct ConnectionPlan {
  package var start = Interval.zero
  package var isV6 = false
  package var dial = DialPlan.accept
  package var dialTime = Interval.milliseconds(1)
  package var application = ActorPlan()
  package var device = ActorPlan()
}

/// How the link between the application's kernel and the adapter treats packets. Probabilities are 0 to 1.
package struct LinkPlan {
  package var latency = Interval.microseconds(50)
  package var jitter = Interval.microseconds(10)
  package var loss = 0.0
  package var duplication = 0.0
  package var reordering = 0.0
  package var corruption = 0.0
}

/// Something that happens to a session.
package enum Incident: Equatable {
  /// The relay is told to cancel.
  case relayCancels
  /// A byte of a direction changes on its way.
  case corruption(fromLink: Bool, position: Int)
  /// A line carries nothing any more, and nobody is told.
  case blackHole(toSite: Bool)
  case siteEnds
  case linkLeaves
  case linkStops
  /// The site's program is killed: its kernel closes what it had.
  case siteDies
}

/// A mistake that a world makes on purpose, at the site: to show that it would be found.
package enum Flaw: CaseIterable {
  /// A byte on its way to a device is left out.
  case losesByte
  /// A device sees the end of a stream that was cut.
  case endsWhatWasCut
  /// Nobody is told that a device has reset its connection.
  case keepsResetsBack
  /// The end of what an application sends goes nowhere.
  case swallowsEnds
}

/// Everything that a seed decides before a world begins.
package struct WorldPlan {
  package var seed: UInt64
  package var link = LinkPlan()
  package var tunnelLatency = Interval.milliseconds(5)
  package var tunnelBuffer = 1 << 18
  package var applicationStack = StackConfiguration()
  package var mtu = 1500
  package var offloads = true
  package var session = SessionLimits()
  package var linkSlabs = 512
  package var siteSlabs = 256
  package var connections: [ConnectionPlan] = []
  package var incident: (time: Interval, what: Incident)?
  package var flaw: Flaw?
  /// By when everything must be over.
  package var timeLimit = Interval.seconds(4 * 3600)

  /// A world on a good line, where nothing happens but what its connections do.
  package init(seed: UInt64, connections: [ConnectionPlan]) {
    self.seed = seed
    self.connections = connections
    applicationStack.keepAlive = .seconds(30)
  }
}

extension WorldPlan {
  /// How many connections a seed's world has, without the rest of the plan.
  package static func connectionCount(seed: UInt64) -> Int {
    var random = SeededRandom(seed: seed &* 0x9E37_79B9 &+ 17)
    return Int.random(in: 8...32, using: &random)
  }

  /// The world of a seed.
  package init(seed: UInt64) {
    self.seed = seed
    var random = SeededRandom(seed: seed)
    // Half of all worlds have a good link, so that the rest of the way shows what it does by itself.
    if random.chance(0.5) {
      link.latency = .microseconds(random.upTo(20, [20_000]))
      link.jitter = .microseconds(random.upTo(1, [2_000]))
      link.loss = random.pick([0, 0.01, 0.05, 0.1] as [Double])
      link.duplication = random.pick([0, 0.02, 0.1] as [Double])
      link.reordering = random.pick([0, 0.05, 0.2] as [Double])
      link.corruption = random.pick([0, 0.01, 0.05] as [Double])
    }
    tunnelLatency = .microseconds(random.upTo(50, [60_000]))
    tunnelBuffer = random.pick([4096, 1 << 16, 1 << 18, 1 << 20])
    mtu = random.pick([1280, 1500, 1500, 9000])
    offloads = random.chance(0.6)
    applicationStack.mtu = mtu
    applicationStack.checksumOffload = random.chance(0.5)
    applicationStack.segmentationOffload = random.chance(0.6)
    applicationStack.timestamps = random.chance(0.6)
    applicationStack.selectiveAcknowledgements = random.chance(0.7)
    applicationStack.congestion = random.chance(0.3) ? .reno : .none
    applicationStack.maximumReceiveWindow = random.pick([65_535, 1 << 20, 4 << 20])
    // A kernel asks sooner than a stack does by itself, for the sake of short worlds.
    applicationStack.keepAlive = .seconds(30)
    session.maximumWindow = random.pick([256 * 1024, 1 << 20, 8 << 20])
    if random.chance(0.3) { session.rekey = RekeyPolicy(records: UInt64.random(in: 5...100, using: &random)) }
    // What is left of such a pool is soon too little: streams are cut for it.
    if random.chance(0.1) { linkSlabs = 12 }
    if random.chance(0.1) { siteSlabs = 12 }
    for _ in 0..<Self.connectionCount(seed: seed) {
      connections.append(ConnectionPlan(&random, window: applicationStack.maximumReceiveWindow))
    }
    if random.chance(0.3) {
      incident = (.milliseconds(random.upTo(1, [3000])), Incident(&random))
    }
  }
}

extension Incident {
  init(_ random: inout SeededRandom) {
    switch random.next() % 8 {
    case 0: self = .relayCancels
    case 1, 2:
      let position = random.pick([100, 10_000, 1_000_000])
      self = .corruption(fromLink: random.chance(0.5), position: Int.random(in: 0..<position, using: &random))
    case 3: self = .blackHole(toSite: random.chance(0.5))
    case 4: self = .siteEnds
    case 5: self = .linkLeaves
    case 6: self = .linkStops
    default: self = .siteDies
    }
  }
}

extension ConnectionPlan {
  init(_ random: inout SeededRandom, window: Int) {
    start = .microseconds(random.upTo(0, [1, 50_000, 1_000_000]))
    isV6 = random.chance(0.25)
    dialTime = .microseconds(random.upTo(10, [1000, 100_000, 2_000_000]))
    dial = random.chance(0.9) ? .accept : random.pick([.refuse, .refuse, .unreachable, .silence])
    // Few are large, so that there can be many.
    let sizes = (Self.size(&random), Self.size(&random))
    application = ActorPlan(&random, size: sizes.0, peer: sizes.1)
    device = ActorPlan(&random, size: sizes.1, peer: sizes.0)
    // A window of a few bytes takes a round trip for each: not for bulk. Below its scale it couldn't be told.
    var scale = 0
    while window >> scale > 65_535 { scale += 1 }
    if random.chance(0.15), sizes.1 < 20_000 {
      application.buffer = max(4 << scale, Int.random(in: 60...3000, using: &random))
    }
    if random.chance(0.15), sizes.0 < 20_000 { device.buffer = Int.random(in: 1...3000, using: &random) }
    if application.ending == .finishAfterPeer, device.ending == .finishAfterPeer { device.ending = .finishWhenSent }
    if case .vanishAfter(let time) = application.ending { application.ending = .resetAfter(time) }
  }

  private static func size(_ random: inout SeededRandom) -> Int {
    switch random.next() % 100 {
    case 0..<10: 0
    case 10..<50: Int.random(in: 1...300, using: &random)
    case 50..<85: Int.random(in: 1...20_000, using: &random)
    case 85..<98: Int.random(in: 1...200_000, using: &random)
    default: Int.random(in: 1...2_000_000, using: &random)
    }
  }
}

extension ActorPlan {
  init(_ random: inout SeededRandom, size: Int, peer: Int) {
    self.size = size
    chunk = random.pick([size, max(1, size / 7), 1400, 16_384])
    chunk = min(max(chunk, max(1, size / 500)), 1 << 16)
    if random.chance(0.2) {
      sendPause = .microseconds(random.upTo(1, [1000, 100_000]))
      chunk = max(chunk, size / 100)
    }
    if random.chance(0.25) {
      // Slow, but through in a hundred reads.
      readChunk = max(1, peer / Int.random(in: 1...100, using: &random))
      readPause = .milliseconds(random.upTo(1, [20, 200]))
    }
    buffer = random.pick([1 << 14, 1 << 16, 1 << 18, 1 << 20])
    let time = Interval.microseconds(random.upTo(0, [10_000, 500_000, 5_000_000]))
    ending =
      switch random.next() % 20 {
      case 0..<9: .finishWhenSent
      case 9..<12: .finishAfterPeer
      case 12: .finishAtRead(Int.random(in: 0...peer, using: &random))
      case 13: .closeAtSent(Int.random(in: 0...size, using: &random))
      case 14: .closeAtRead(Int.random(in: 0...peer, using: &random))
      case 15, 16: .resetAtSent(Int.random(in: 0...size, using: &random))
      case 17: .resetAtRead(Int.random(in: 0...peer, using: &random))
      case 18: .resetAfter(time)
      default: .vanishAfter(time)
      }
  }
}

extension SeededRandom {
  mutating func pick<Value>(_ values: [Value]) -> Value {
    values[Int(next() % UInt64(values.count))]
  }

  /// A number from `least` to one of some limits: so that small ones are as likely as large ones.
  mutating func upTo(_ least: Int64, _ limits: [Int64]) -> Int64 {
    let limit = pick(limits)
    return Int64.random(in: least...limit, using: &self)
  }
}
