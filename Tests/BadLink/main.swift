// A line between two TUN devices that delays, loses, duplicates, reorders and damages packets, as its seed says. The far device
// is to be moved to another network namespace once it is there: a descriptor goes on working.

import Glibc
import Kernel
import Packet
import Primitives
import Tun

/// The two ends and the two directions between them.
struct Link: ~Copyable {
  private var near: FaultInjector<TunDevice>
  private var far: FaultInjector<TunDevice>
  private var outward: Wire
  private var homeward: Wire
  private let poller: Poller
  private var pool = SlabPool(limit: 2048)
  private var lane = SlabLane()
  private var now = Clock.now

  init(_ arguments: Arguments) throws {
    let features: TunFeatures = arguments.offload ? .all : []
    let near = try TunDevice(opening: TunConfiguration(name: arguments.near, offloads: features))
    let far = try TunDevice(opening: TunConfiguration(name: arguments.far, offloads: features))
    let poller = try Poller()
    if let descriptor = near.descriptor { try poller.add(descriptor, token: 0, for: .readable) }
    if let descriptor = far.descriptor { try poller.add(descriptor, token: 1, for: .readable) }
    self.poller = poller
    self.near = FaultInjector(near, seed: arguments.seed, reading: arguments.rates)
    self.far = FaultInjector(far, seed: ~arguments.seed, reading: arguments.rates)
    outward = Wire(arguments, seed: arguments.seed &+ 1)
    homeward = Wire(arguments, seed: arguments.seed &+ 2)
  }

  /// Carries packets until the process ends.
  mutating func run() throws -> Never {
    while true {
      let deadline = Instant.earliest(outward.nextDue, homeward.nextDue)
      let count = try poller.wait(timeout: deadline.map { $0 - now })
      now = Clock.now
      for index in 0..<count {
        switch poller.event(index).token {
        case 0: try Self.read(&near, into: &outward, &pool, &lane, now)
        default: try Self.read(&far, into: &homeward, &pool, &lane, now)
        }
      }
      try outward.deliver(to: &far.inner, pool: &pool, now: now)
      try homeward.deliver(to: &near.inner, pool: &pool, now: now)
    }
  }

  private static func read(
    _ device: inout FaultInjector<TunDevice>, into wire: inout Wire, _ pool: inout SlabPool, _ lane: inout SlabLane,
    _ now: Instant
  ) throws {
    for _ in 0..<64 {
      guard let region = pool.reserve(PacketLimits.size, in: &lane) else { return }
      switch try device.read(into: region, pool: &pool) {
      case .wouldBlock: return
      case .dropped: continue
      case .packet(let found, let offload):
        wire.append(pool.commit(region, through: found, in: &lane), offload, pool: &pool, now: now)
      }
    }
  }
}

do {
  var link = try Link(try Arguments(Array(CommandLine.arguments.dropFirst())))
  try link.run()
} catch let mistake as Arguments.Mistake {
  print(mistake.text, Arguments.usage, separator: "\n")
  exit(64)
} catch {
  print("BadLink: \(error)")
  exit(1)
}
