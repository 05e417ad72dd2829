import Primitives
import Testing

@testable import Service

struct StatusWatchTests {
  private let size = (rows: 6, columns: 20)
  private let gone = ManagementError.notRunning(program: "demo", path: "/x/demo.sock")
  private func at(_ seconds: Int64) -> Instant { .zero + .seconds(seconds) }

  @Test func writesABlockEachTime() throws {
    var watch = StatusWatch(style: .blocks)
    let first = try watch.show(.success("all well"), every: 2, now: at(0), unixSeconds: 0, size: size)
    #expect(first == "--- 1970-01-01T00:00:00Z, every 2 s\nall well\n")
    // It goes away: said once. And it comes back.
    let lost = try watch.show(.failure(gone), every: 2, now: at(2), unixSeconds: 2, size: size)
    #expect(lost.hasPrefix("--- 1970-01-01T00:00:02Z\ndemo isn't running"))
    #expect(try watch.show(.failure(gone), every: 2, now: at(4), unixSeconds: 4, size: size) == "")
    let back = try watch.show(.success("well again"), every: 2, now: at(9), unixSeconds: 9, size: size)
    #expect(back == "--- 1970-01-01T00:00:09Z, every 2 s\nthe service is back after 7 s\nwell again\n")
  }

  @Test func writesOneObjectALine() throws {
    var watch = StatusWatch(style: .lines)
    #expect(try watch.show(.success("{\"a\":1}"), every: 1, now: at(0), unixSeconds: 0, size: size) == "{\"a\":1}\n")
    let lost = try watch.show(.failure(gone), every: 1, now: at(1), unixSeconds: 1, size: size)
    #expect(
      lost.hasPrefix("{\"problem\":\"demo isn't running") && lost.hasSuffix("\"time\":\"1970-01-01T00:00:01Z\"}\n"))
    #expect(lost.split(separator: "\n").count == 1)
  }

  @Test func drawsWithinTheScreen() throws {
    var watch = StatusWatch(style: .screen)
    let text = (1...9).map { "line \($0) that is longer than the screen" }.joined(separator: "\n")
    let frame = try watch.show(.success(text), every: 1, now: at(0), unixSeconds: 0, size: size)
    #expect(frame.hasPrefix("\u{1B}[H") && frame.hasSuffix("\u{1B}[J"))
    let lines = frame.dropFirst(3).split(separator: "\n")
    // What isn't the last has a line feed, so that one row stays free for the cursor.
    #expect(lines.count == size.rows)
    for line in lines.dropLast() {
      #expect(line.hasSuffix("\u{1B}[K") && line.count - 3 <= size.columns)
    }
    #expect(lines[4].hasPrefix("… 7 more lines"))
    let lost = try watch.show(.failure(gone), every: 1, now: at(3), unixSeconds: 3, size: (24, 80))
    #expect(lost.contains("no answer for 0 s, waiting"))
    let later = try watch.show(
      .failure(.timedOut(program: "demo")), every: 1, now: at(8), unixSeconds: 8, size: (24, 80))
    #expect(later.contains("no answer for 5 s, waiting"))
  }

  @Test func endsWhereWaitingDoesNotHelp() throws {
    var watch = StatusWatch(style: .blocks)
    // Never seen: the directory is wrong, perhaps.
    #expect(throws: gone) { try watch.show(.failure(gone), every: 1, now: at(0), unixSeconds: 0, size: size) }
    _ = try watch.show(.success(""), every: 1, now: at(1), unixSeconds: 1, size: size)
    #expect(throws: ManagementError.malformed(program: "demo")) {
      try watch.show(
        .failure(.malformed(program: "demo")), every: 1, now: at(2), unixSeconds: 2, size: size)
    }
  }

  @Test func readsItsOptions() throws {
    #expect(try StatusOptions.parse([]).watch == nil)
    #expect(try StatusOptions.parse(["--watch"]).watch == 2)
    #expect(try StatusOptions.parse(["--watch", "0.5", "--json"]).watch == 0.5)
    #expect(try StatusOptions.parse(["--watch", "--json"]).json)
    #expect(throws: (any Error).self) { try StatusOptions.parse(["--watch", "0"]) }
    #expect(throws: (any Error).self) { try StatusOptions.parse(["--watch", "nan"]) }
  }
}
