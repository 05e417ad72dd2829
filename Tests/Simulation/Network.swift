import Primitives
import Proxy

/// All wires of a world, its time and its chance.
struct Network {
  var wires: [Wire] = []
  var agenda = Agenda()
  var random: SeededRandom
  var now = Instant(nanoseconds: 1_000_000_000)
  var trace: Trace

  init(seed: UInt64, trace: Trace) {
    random = SeededRandom(seed: ~seed)
    self.trace = trace
  }

  mutating func addWire(capacity: Int, latency: Interval, jitter: Interval) -> Int {
    wires.append(Wire(capacity: capacity, latency: latency, jitter: jitter))
    return wires.count - 1
  }

  mutating func arrived(_ wire: Int, _ event: WireEvent) -> Bool {
    wires[wire].arrived(event, &agenda, &random, index: wire, now: now)
  }

  mutating func write(_ wire: Int, _ end: Int, _ bytes: Span<UInt8>) -> Int? {
    wires[wire].write(end, bytes, &agenda, &random, index: wire, now: now)
  }

  mutating func read(_ wire: Int, _ end: Int, into bytes: inout MutableSpan<UInt8>) {
    wires[wire].read(end, into: &bytes, &agenda, index: wire, now: now)
  }

  mutating func take<Result>(_ wire: Int, _ end: Int, _ count: Int, _ body: (Span<UInt8>) -> Result) -> Result {
    wires[wire].take(end, count, &agenda, index: wire, now: now, body)
  }

  /// One end is gone without a word; the other notices by itself after a time.
  mutating func die(_ wire: Int, _ end: Int, after time: Interval) {
    wires[wire].die(end, after: time, &agenda, index: wire, now: now)
  }

  mutating func finish(_ wire: Int, _ end: Int) {
    wires[wire].finish(end, &agenda, &random, index: wire, now: now)
  }

  mutating func close(_ wire: Int, _ end: Int, reset: Bool) {
    wires[wire].close(end, reset: reset, &agenda, &random, index: wire, now: now)
  }

  /// One gathered write of what waits.
  mutating func send(_ queue: inout SliceQueue, _ wire: Int, _ end: Int, pool: inout SlabPool) -> GatheredWrite {
    var moved = 0
    while moved < 256 * 1024, !queue.isEmpty {
      let piece = queue[0]
      guard let count = pool.withSpan(piece, { write(wire, end, $0) }) else {
        return .failed(wires[wire].error(end) ?? .reset)
      }
      queue.drop(count, pool: &pool)
      moved += count
      if count < piece.count { break }
    }
    return moved == 0 ? .wouldBlock : .moved(moved)
  }

  enum GatheredWrite { case moved(Int), wouldBlock, failed(WireError) }
}

/// What is told as it happens, when somebody wants to read it.
package struct Trace {
  private let print: ((String) -> Void)?

  package init(_ print: ((String) -> Void)? = nil) {
    self.print = print
  }

  var isWanted: Bool { print != nil }

  func say(_ now: Instant, _ who: String, _ what: @autoclosure () -> String) {
    guard let print else { return }
    let micros = (now.nanoseconds - 1_000_000_000) / 1000
    let fraction = String(micros % 1_000_000)
    let seconds = "\(micros / 1_000_000).\(String(repeating: "0", count: 6 - fraction.count))\(fraction)"
    print("\(String(repeating: " ", count: max(0, 11 - seconds.count)))\(seconds) \(who): \(what())")
  }
}
