// Counts allocations on the way of a byte: both directions of one bulk connection, from the application's TCP segment
// to the bytes for the device's socket and back, and both of a flow of small datagrams, once everything has reached its
// size.
//
// Prints one JSON object. Exit status: 0 if there were none, 1 if there were, 2 if the path doesn't work.
// With the argument `trap` the first allocation ends it with SIGTRAP, for a debugger to show where it came from.

import AllocationCounter
import Glibc

let warmUp: UInt64 = 2_000
let counted: UInt64 = 10_000
let traps = CommandLine.arguments.contains("trap")

func fail(_ reason: String) -> Never {
  print("{\"problem\": \"\(reason)\"}")
  exit(2)
}

/// Turns until both directions have passed `segments` super-segments; how many turns it took.
func run(_ path: inout Path, until segments: UInt64) throws -> Int {
  var turns = 0
  while min(path.adapter.counters.superSegmentsIn, path.adapter.counters.superSegmentsOut) < segments {
    try path.turn()
    turns += 1
    if turns > 1_000_000 { fail("only \(path.adapter.counters)") }
  }
  return turns
}

/// Allocations by so many datagrams each way, once others have passed.
func countDatagrams(_ wanted: Int) throws -> UInt64 {
  var path = try DatagramPath()
  for goal in [wanted / 5, wanted] {
    allocation_counter_trap(traps && goal == wanted ? 1 : 0)
    allocation_counter_start()
    var turns = 0
    while min(path.delivered.up, path.delivered.down) < goal {
      try path.turn()
      turns += 1
      if turns > wanted { fail("only \(path.delivered)") }
    }
    let allocations = allocation_counter_stop()
    if goal == wanted { return allocations }
    guard allocations > 0, path.delivered.packets * 10 < path.delivered.down else { fail("\(path.delivered)") }
  }
  return 0
}

allocation_counter_start()
var path = try Path()
try path.open()
_ = try run(&path, until: warmUp)
// Setting up allocates: a count of zero would mean that nothing is counted at all.
let warmUpAllocations = allocation_counter_stop()
guard warmUpAllocations > 0 else { fail("the counter doesn't count") }
let before = path.adapter.counters
let (deliveredUp, deliveredDown) = path.delivered

allocation_counter_trap(traps ? 1 : 0)
allocation_counter_start()
let turns = try run(&path, until: warmUp + counted)
let allocations = allocation_counter_stop()

let after = path.adapter.counters
let up = after.superSegmentsIn - before.superSegmentsIn
let down = after.superSegmentsOut - before.superSegmentsOut
let bytesUp = path.delivered.up - deliveredUp
let bytesDown = path.delivered.down - deliveredDown
guard bytesUp > 0, bytesDown > 0 else { fail("nothing was delivered") }
let datagrams = 1_000_000
let byDatagrams = try countDatagrams(datagrams)
print(
  """
  {"segments": \(min(up, down)), "segmentsUp": \(up), "segmentsDown": \(down), "bytesUp": \(bytesUp), \
  "bytesDown": \(bytesDown), "turns": \(turns), "warmUpAllocations": \(warmUpAllocations), \
  "allocations": \(allocations), "datagrams": \(datagrams), "datagramAllocations": \(byDatagrams)}
  """)
exit(allocations + byDatagrams == 0 ? 0 : 1)
