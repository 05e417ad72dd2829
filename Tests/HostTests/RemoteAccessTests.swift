import Control
import Crypto
import Kernel
import Logging
import Primitives
import Service
import Synchronization
import Testing

@testable import SiteManager

@Suite(.serialized, .timeLimit(.minutes(1))) struct RemoteAccessTests {
  private final class Heard: Sendable {
    let all = Mutex<[RemoteAccess]>([])
    var last: RemoteAccess? { all.withLock { $0.last } }
  }

  private func made(_ directory: StateDirectory, _ heard: Heard) throws -> RemoteSwitch {
    try RemoteSwitch(
      directory: directory, interval: .milliseconds(20), log: Logger(label: "site") { _ in SwiftLogNoOpLogHandler() }
    ) { access in
      heard.all.withLock { $0.append(access) }
    }
  }

  private func eventually(_ condition: () -> Bool) -> Bool {
    for _ in 0..<200 {
      if condition() { return true }
      Thread.sleep(.milliseconds(10))
    }
    return false
  }

  private func write(_ text: String, in directory: StateDirectory) throws {
    try AtomicFile.write(
      Array(text.utf8), to: directory.path(of: RemoteAccess.fileName), permissions: 0o600, replacing: true)
  }

  @Test func whatIsOffStaysOffOverARestart() throws {
    let directory = try TemporaryDirectory()
    try directory.state.create()
    let heard = Heard()
    let first = try made(directory.state, heard)
    #expect(heard.last == nil)
    try first.set(.init(reason: "press 4", since: 7), agent: "plc")
    try first.set(.init(reason: nil, since: 8), agent: nil)
    #expect(heard.last?.veto(of: "plc") == "remote access is switched off on site")
    // As it was left, and heard of before anything else.
    let again = Heard()
    let second = try made(directory.state, again)
    #expect(again.last == heard.last)
    try second.set(nil, agent: nil)
    #expect(again.last?.veto == nil && again.last?.veto(of: "web") == nil)
    #expect(again.last?.veto(of: "plc") == "switched off on site: press 4")
    // What others have written meanwhile isn't lost.
    try first.set(.init(reason: "valve", since: 9), agent: "web")
    try second.set(nil, agent: "plc")
    #expect(again.last?.veto(of: "plc") == nil && again.last?.veto(of: "web") == "switched off on site: valve")
    #expect(directory.mode(of: RemoteAccess.fileName) == 0o600)
    directory.state.remove(RemoteAccess.fileName)
  }

  /// A file that is written, mended or taken away counts within two seconds; one that can't be read forbids all.
  @Test func theFileIsWatched() throws {
    let directory = try TemporaryDirectory()
    try directory.state.create()
    let heard = Heard()
    let remote = try made(directory.state, heard)
    try remote.start()
    try write(#"{"off": {"reason": "maintenance"}, "agents": {"plc": {}}, "later": 1}"#, in: directory.state)
    #expect(eventually { heard.last?.veto == "remote access is switched off on site: maintenance" })
    for wrong in [
      "{", "[]", #"{"off": true}"#, #"{"version": 2}"#, #"{"agents": {"a b": {}}}"#, #"{"off": {"reason": ""}}"#,
      #"{"agents": {"plc": {"reason": "\#(String(repeating: "x", count: 257))"}}}"#,
      #"{"agents": {\#((0..<257).map { "\"a\($0)\": {}" }.joined(separator: ","))}}"#,
    ] {
      try write(#"{"agents": {"plc": {}}}"#, in: directory.state)
      #expect(eventually { heard.last?.veto == nil && heard.last?.agents?["plc"] != nil && remote.problem == nil })
      try write(wrong, in: directory.state)
      let isOff = eventually {
        heard.last?.veto == "remote access is switched off on site: remote.json can't be read there"
      }
      #expect(isOff && remote.problem?.contains("remote.json") == true, "\(wrong)")
      // A command doesn't write over what somebody has to look at.
      #expect(throws: CommandFailure.self) { try remote.set(nil, agent: nil) }
    }
    directory.state.remove(RemoteAccess.fileName)
    #expect(eventually { heard.last == RemoteAccess() && remote.problem == nil })
    remote.stop()
    #expect(throws: (any Error).self) { try RemoteCommand.parse(["on", "--reason", "x"]) }
    #expect(throws: (any Error).self) { try RemoteCommand.parse(["off", "--reason", ""]) }
    #expect(throws: (any Error).self) { try RemoteCommand.parse(["maybe"]) }
    #expect(try RemoteCommand.parse(["off", "plc", "--reason", "x"]).agent == "plc")
  }
}
