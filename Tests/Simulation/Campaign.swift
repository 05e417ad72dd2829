import Kernel
import Primitives
import Synchronization

/// Many worlds, by seed, on several threads.
package struct Campaign: Sendable {
  package var seed: UInt64
  package var connections: Int
  package var threads: Int

  package init(seed: UInt64, connections: Int, threads: Int) {
    self.seed = seed
    self.connections = connections
    self.threads = max(1, threads)
  }

  /// The seeds whose worlds have as many connections together.
  package var seeds: Range<UInt64> {
    var (next, left) = (seed, connections)
    while left > 0 {
      left -= WorldPlan.connectionCount(seed: next)
      next &+= 1
    }
    return seed..<next
  }

  /// Runs all of them.
  package func run() throws -> Summary {
    let seeds = seeds
    let shared = Shared(next: seeds.lowerBound)
    let runners = try (0..<threads).map { index in
      try Thread(name: "simulator-\(index)") {
        while true {
          let seed = shared.next.add(1, ordering: .relaxed).oldValue
          guard seed < seeds.upperBound else { return }
          let outcome = Self.run(seed)
          shared.summary.withLock { $0.add(outcome) }
        }
      }
    }
    for runner in runners { runner.join() }
    return shared.summary.withLock { $0 }
  }

  package static func run(_ seed: UInt64, trace: Trace = Trace()) -> Outcome {
    do {
      let world = try World(WorldPlan(seed: seed), trace: trace)
      return world.run()
    } catch {
      var outcome = Outcome(seed: seed)
      outcome.problems.append("no world: \(error)")
      return outcome
    }
  }

  private final class Shared: Sendable {
    let next: Atomic<UInt64>
    let summary = Mutex(Summary())

    init(next: UInt64) {
      self.next = Atomic(next)
    }
  }
}

/// What many worlds came to.
package struct Summary: Sendable {
  package private(set) var worlds = 0
  package private(set) var connections = 0
  package private(set) var complete = 0
  package private(set) var failed = 0
  package private(set) var refused = 0
  package private(set) var late = 0
  package private(set) var bytes = 0
  package private(set) var steps = 0
  package private(set) var time = 0.0
  /// The worlds in which a promise was broken.
  package private(set) var failures: [Outcome] = []

  mutating func add(_ outcome: Outcome) {
    worlds += 1
    connections += outcome.connections
    complete += outcome.complete
    failed += outcome.failed
    refused += outcome.refused
    late += outcome.late
    bytes += outcome.bytes
    steps += outcome.steps
    time += outcome.time.seconds
    if !outcome.problems.isEmpty { failures.append(outcome) }
  }
}
