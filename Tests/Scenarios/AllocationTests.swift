import Foundation
import Testing

/// What `AllocationCheck` found.
private struct Count: Decodable {
  var segments: Int
  var allocations: Int
  var datagrams: Int
  var datagramAllocations: Int
}

@Test(
  "no allocation in 10,000 super-segments and 1,000,000 small datagrams each way",
  .enabled(
    if: Place.hasBinaries("AllocationCheck"), "AllocationCheck isn't built in release mode: `make test` does that first"
  ))
func noAllocationPerPacket() throws {
  let output = try Shell.run(["\(Place.binaries)/AllocationCheck"])
  let count = try JSONDecoder().decode(Count.self, from: Data(output.text.utf8))
  #expect(count.segments >= 10_000)
  #expect(count.allocations == 0, "\(output)")
  #expect(count.datagrams >= 1_000_000)
  #expect(count.datagramAllocations == 0, "\(output)")
}
