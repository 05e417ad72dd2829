// Simulated connections by seed: applications, LinkManager, GateManager, SiteManager and devices in virtual time.
//
//   Simulator --connections 10000 --seed 1 [--threads 2]    many worlds; prints one JSON object
//   Simulator --seed 17 --trace                             one world, told event by event
//   Simulator --replay FILE                                 a capture of LinkManager's through stack and filter
//
// Exit status: 0 if every promise was kept, 1 if not; then each seed that shows it is printed, with the command that
// replays it. 64 for a wrong command line.

import Glibc
import Simulation

func fail(_ reason: String) -> Never {
  print(
    "Simulator: \(reason)", "usage: Simulator --seed N [--connections N] [--threads N] [--trace] | --replay FILE",
    separator: "\n")
  exit(64)
}

var seed: UInt64 = 1
var connections: Int?
var threads = 2
var isTraced = false
var words = Array(CommandLine.arguments.dropFirst())
while !words.isEmpty {
  let word = words.removeFirst()
  func number() -> Int {
    guard !words.isEmpty, let value = Int(words.removeFirst()), value >= 0 else { fail("\(word) needs a number") }
    return value
  }
  switch word {
  case "--seed": seed = UInt64(number())
  case "--connections": connections = number()
  case "--threads": threads = number()
  case "--trace": isTraced = true
  case "--replay":
    guard !words.isEmpty else { fail("--replay needs a file") }
    exit(replay(words.removeFirst()))
  default: fail("\(word): unknown")
  }
}

/// Tells what becomes of a capture; the exit status is 0 if the filter decides as the capture says it did.
func replay(_ path: String) -> Int32 {
  guard let file = unsafe fopen(path, "r") else { fail("\(path) can't be read") }
  defer { unsafe fclose(file) }
  var bytes: [UInt8] = []
  var part = [UInt8](repeating: 0, count: 1 << 16)
  while true {
    let count = unsafe fread(&part, 1, part.count, file)
    guard count > 0 else { break }
    bytes += part[..<count]
  }
  do {
    let outcome = try Replay.run(bytes)
    for line in outcome.verdicts + outcome.events { print(line) }
    for (reason, count) in outcome.drops.sorted(by: { $0.key < $1.key }) { print("dropped: \(reason): \(count)") }
    for line in outcome.disagreements { print("DIFFERS: \(line)") }
    print(
      "\(outcome.packets) packets, \(outcome.skipped) skipped; \(outcome.bytesFromApplications) bytes from applications, "
        + "\(outcome.bytesToApplications) to them")
    return outcome.disagreements.isEmpty && outcome.slabsHeld == 0 ? 0 : 1
  } catch {
    fail("\(path): \(error)")
  }
}

/// Time that this process has had a processor for, seconds.
func processorTime() -> Double {
  var time = timespec()
  unsafe clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time)
  return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
}

func report(_ outcome: Outcome) {
  print("seed \(outcome.seed): FAILED")
  for problem in outcome.problems.prefix(10) { print("  \(problem)") }
  print("  replay: swift run -c release Simulator --seed \(outcome.seed) --trace")
}

guard let connections else {
  let outcome = Campaign.run(seed, trace: isTraced ? Trace { print($0) } : Trace())
  print(
    "seed \(outcome.seed): \(outcome.connections) connections, \(outcome.complete) complete, \(outcome.failed) failed, "
      + "\(outcome.refused) refused, \(outcome.late) late; \(outcome.bytes) bytes, \(outcome.steps) steps, "
      + "\(outcome.time.seconds) s, digest \(String(outcome.digest, radix: 16))")
  if !outcome.problems.isEmpty { report(outcome) }
  exit(outcome.problems.isEmpty ? 0 : 1)
}
let start = processorTime()
let summary = try Campaign(seed: seed, connections: connections, threads: threads).run()
let spent = processorTime() - start
for outcome in summary.failures.sorted(by: { $0.seed < $1.seed }).prefix(20) { report(outcome) }
// Two cores do in half of the time what one does.
let rate = Int(2 * Double(summary.connections) / spent)
print(
  """
  {"worlds": \(summary.worlds), "connections": \(summary.connections), "complete": \(summary.complete), \
  "failed": \(summary.failed), "refused": \(summary.refused), "late": \(summary.late), "bytes": \(summary.bytes), \
  "steps": \(summary.steps), "virtualSeconds": \(Int(summary.time)), "broken": \(summary.failures.count), \
  "processorSeconds": \(spent), "connectionsPerSecondOnTwoCores": \(rate)}
  """)
exit(summary.failures.isEmpty ? 0 : 1)
