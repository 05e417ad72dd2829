// Runs each stage a fixed number of times and counts allocations; prints one line of JSON for each.
//
// usage: StageCounts [STAGE...]        all stages without an argument
//        StageCounts --list
//
// In `valgrind --tool=callgrind --instr-atstart=no` the instructions of the same operations are counted there: name one
// stage then. Exit status: 0 if everything was counted, 2 if a stage doesn't work.

import AllocationCounter
import Callgrind
import Glibc
import Stages

func fail(_ reason: String) -> Never {
  print("{\"problem\": \"\(reason)\"}")
  exit(2)
}

func count(_ description: StageDescription) throws -> UInt64 {
  let stage = try description.setUp()
  let operations = description.counted
  // Before that some times, so that everything has reached its size, and lanes have gone on to their next slabs.
  for _ in 0..<4 {
    try stage.prepare(operations)
    try stage.run(operations)
  }
  try stage.prepare(operations)
  let before = stage.completed
  callgrind_region_start()
  allocation_counter_start()
  try stage.run(operations)
  let allocations = allocation_counter_stop()
  callgrind_region_stop()
  let completed = stage.completed - before
  guard completed == operations else {
    fail("\(description.name): \(completed) of \(operations) operations came to their end")
  }
  return allocations
}

let names = CommandLine.arguments.dropFirst()
if names.first == "--list" {
  for description in Catalogue.stages { print(description.name) }
  exit(0)
}
for name in names where !Catalogue.stages.contains(where: { $0.name == name }) { fail("no stage \(name)") }
for description in Catalogue.stages where names.isEmpty || names.contains(description.name) {
  do {
    let allocations = try count(description)
    print(
      "{\"stage\": \"\(description.name)\", \"bytes\": \(description.bytes), \"operations\": \(description.counted), "
        + "\"isRepeatable\": \(description.isRepeatable), \"allocations\": \(allocations)}")
  } catch {
    fail("\(description.name): \(error)")
  }
}
