import Primitives
import Testing

@testable import Service

struct TableTests {
  @Test func alignsColumns() {
    var table = Table("site", "since", "n")
    table.append("north", "2 min", "1")
    table.append("a", "3 h 20 min")
    #expect("\(table)" == "site   since       n\nnorth  2 min       1\na      3 h 20 min")
  }

  @Test(arguments: [
    (UInt64(0), "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (10_240, "10 KiB"), (1_048_576, "1.0 MiB"),
    (.max, "16 EiB"),
  ]) func showsBytes(count: UInt64, text: String) {
    #expect(Quantity.bytes(count) == text)
  }

  @Test func showsRates() {
    #expect(Quantity.rate(bytes: 117_500_000, in: .seconds(1)) == "940 Mbit/s")
    #expect(Quantity.rate(bytes: 5, in: .zero) == "0 bit/s")
    #expect(Quantity.age(seconds: 12_000) == "3 h 20 min")
  }

  @Test func suggestsSlipsOnly() {
    #expect(Suggestion.closest(to: "devcie", among: ["device", "name"]) == "device")
    #expect(Suggestion.closest(to: "colour", among: ["device", "name"]) == nil)
  }
}
