import Primitives
import Testing

@testable import Service

@Suite struct StateFileTests {
  private struct Entry: Codable, Equatable {
    struct Inner: Codable, Equatable {
      var key: String
      var times: [Int64]
    }

    var name: String
    var inner: Inner
    var note: String?
  }

  private static let entry = Entry(name: "a", inner: .init(key: "\"x\"\\\n", times: [1, 2]), note: "é")

  private func failure(_ text: String, check: (Entry) -> StateFileError? = { _ in nil }) -> StateFileError? {
    failure(Array(text.utf8), check: check)
  }

  private func failure(_ bytes: [UInt8], check: (Entry) -> StateFileError? = { _ in nil }) -> StateFileError? {
    do throws(StateFileError) {
      _ = try StateFile.decode(Entry.self, from: bytes, check: check)
      return nil
    } catch {
      return error
    }
  }

  @Test func comesBackAsItWas() throws {
    let bytes = try #require(StateFile.encode(Self.entry))
    #expect(try StateFile.decode(Entry.self, from: bytes) == Self.entry)
    #expect(String(decoding: bytes, as: UTF8.self).contains("\"version\" : 1\n"))
    // One of before versions were written, and one of a later version that has added fields.
    let text = #"{"name":"a","inner":{"key":"k","times":[],"x":{}},"colour":[1,{"a":null}]}"#
    #expect(try StateFile.decode(Entry.self, from: Array(text.utf8)).inner.key == "k")
  }

  @Test(arguments: [
    ("", ":1: is empty"), (" \n\n", ":1: is empty"), ("\u{0}\u{1}", ":1: isn't JSON: byte 0 where a value should be"),
    ("{", ":1: ends where `\"` should be: it was cut off"),
    ("{\n\"name\": \"a", ":2: ends within a text: it was cut off"),
    ("{\"name\": \"a\"\n \"note\": 1}", ":2: isn't JSON: `\"` where `,` or `}` should be"),
    ("{\"name\": 'a'}", ":1: isn't JSON: `'` where a value should be"),
    ("{\"name\":\"a\"} x", ":1: has something behind its end"), ("[]", ": is no JSON object"),
    ("{\n \"name\": 7}", ":2: field \"name\" is of another type than it should be"),
    ("{\n \"name\": null}", ":2: field \"name\" is of another type than it should be"),
    ("{\"name\":\"a\"}", ": field \"inner\" is missing"),
    ("{\"name\":\"a\",\n\n\"inner\":{\"key\":\"k\"}}", ":3: field \"inner.times\" is missing"),
    (
      "{\"name\":\"a\",\"inner\":{\"key\":\"k\",\"times\":[1,\n2,\n\"x\"]}}",
      ":3: field \"inner.times.2\" is of another type than it should be"
    ),
    ("{\"version\":1.5,\"name\":\"a\"}", ": holds a number that is out of range or no whole one"),
    ("{\"version\":\"1\",\"name\":\"a\"}", ":1: field \"version\" is of another type than it should be"),
  ]) func saysWhereAndWhy(text: String, expected: String) {
    let error = failure(text)
    #expect(error.map { "\($0)" } == expected)
    #expect(error?.isOfLaterVersion == false)
  }

  @Test func aLaterVersionIsNotRead() {
    let error = failure("{\n\"name\": 7,\n\"version\": 2}")
    #expect(error?.isOfLaterVersion == true && error?.line == 3)
    #expect("\(error!)".contains("a later version of this program has written"))
  }

  @Test func checksNameTheirLine() {
    let text = "{\"name\":\"a\",\n\"inner\":{\n\"key\":\"k\",\"times\":[]}}"
    let error = failure(text) { _ in StateFileError(field: ["inner", "key"], reason: "is no key") }
    #expect(error.map { "\($0)" } == ":3: field \"inner.key\" is no key")
  }

  @Test func bytesThatAreNoText() {
    #expect(failure([0x7B, 0xFF, 0x7D])?.reason == "is not UTF-8")
    let deep = Array((String(repeating: "[", count: 100_000)).utf8)
    #expect(failure(deep)?.reason == "has too many things within each other")
  }

  /// Cut anywhere or changed anywhere: an error with a reason, or a value, and never a trap.
  @Test func everyTruncationAndManyChanges() throws {
    let bytes = try #require(StateFile.encode(Self.entry))
    for count in 0..<(bytes.count - 2) {
      let error = failure(Array(bytes.prefix(count)))
      #expect(error != nil && error?.reason.isEmpty == false, "\(count)")
    }
    var random = SeededRandom(seed: 5)
    for _ in 0..<3000 {
      var changed = bytes
      for _ in 0...Int(random.next() % 3) {
        changed[Int(random.next() % UInt64(changed.count))] = UInt8(truncatingIfNeeded: random.next())
      }
      if let error = failure(changed) { #expect(!"\(error)".isEmpty) }
    }
  }
}
