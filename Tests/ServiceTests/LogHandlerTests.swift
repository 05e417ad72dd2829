import Glibc
import Kernel
import Logging
import Synchronization
import Testing

@testable import Service

struct LogHandlerTests {
  private func event(_ message: Logger.Message, _ metadata: Logger.Metadata) -> LogEvent {
    LogEvent(
      level: .info, message: message, metadata: metadata, source: "test", file: "f", function: "g", line: 1)
  }

  @Test func writesKeysInOrderAndQuotesWhatHasSpaces() {
    let line = TextLogHandler.line(
      event("session started", ["user": "ann", "site": "north plant", "bytes": "\(5)"]), ["session": "ab12"],
      unixNanoseconds: 1_700_000_000_123_000_000)
    #expect(
      line
        == "2023-11-14T22:13:20.123Z info     session started bytes=5 session=ab12 site=\"north plant\" user=ann\n")
  }

  @Test func escapesWhatCouldForgeALine() {
    let line = TextLogHandler.line(
      event("hello\n2023 fake", ["name": "a\u{202E}b\u{1B}[2J"]), [:], unixNanoseconds: 0)
    #expect(line.dropLast().allSatisfy { !$0.isNewline })
    #expect(line.contains(#"hello\n2023"#) && line.contains(#"a\u{202e}b\u{1b}[2J"#))
  }

  @Test func boundsWhatAPeerSays() {
    let line = TextLogHandler.line(
      event("m", ["reason": "\(String(repeating: "\u{301}", count: 100_000))"]), [:], unixNanoseconds: 0)
    #expect(line.unicodeScalars.count < 4096 + 100)
    let json = JSONLogHandler.line(
      event("m", ["reason": "\(String(repeating: "x", count: 100_000))"]), [:], unixNanoseconds: 0)
    #expect(json.utf8.count < 4096 + 200)
    #expect("\(EscapedText(String(repeating: "x", count: 4096)))".count == 4096)
    #expect("\(EscapedText(String(repeating: "x", count: 4097)))".last == "…")
  }

  @Test func writesOneObjectALine() {
    let line = JSONLogHandler.line(
      event("a \"b\"\u{2028}", ["level": "mine", "é": "\n😀"]), [:], unixNanoseconds: -1_000_000)
    #expect(
      line == #"{"time":"1969-12-31T23:59:59.999Z","level":"info","message":"a \"b\"\u2028","_level":"mine","#
        + #""\u00e9":"\n\ud83d\ude00"}"# + "\n")
  }

  @Test func saysHowMuchAFullDiskHasSwallowed() {
    let written = Mutex<[String]>([])
    let room = Mutex(1)
    let output = LogOutput { line in
      let isFull = room.withLock { room in
        room -= 1
        return room < 0
      }
      written.withLock { $0.append(isFull ? String(line.prefix(3)) : line) }
      return isFull ? .lost(SystemError(call: "write", code: ENOSPC), isTorn: true) : .written
    }
    let handler = TextLogHandler(level: .info, output: output)
    for number in 1...4 { handler.log(event: event("line \(number)", [:])) }
    room.withLock { $0 = 10 }
    written.withLock { $0 = [] }
    for number in 5...6 { handler.log(event: event("line \(number)", [:])) }
    let lines = written.withLock { $0 }
    #expect(lines.count == 3)
    // Behind half a line, a line of its own.
    #expect(lines[0].hasPrefix("\n") && lines[0].contains("lost count=3 reason=\"write: No space left on device\""))
    #expect(lines[1].contains("line 5") && lines[2].contains("line 6"))
  }

  @Test(arguments: [
    (Int64(951_782_399), "2000-02-28T23:59:59Z"), (951_782_400, "2000-02-29T00:00:00Z"),
    (4_107_542_400, "2100-03-01T00:00:00Z"), (0, "1970-01-01T00:00:00Z"),
  ]) func knowsTheCalendar(seconds: Int64, text: String) {
    #expect(Timestamp.text(unixSeconds: seconds) == text)
  }
}
