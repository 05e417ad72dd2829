import Crypto
import Foundation
import Testing

@testable import Access

/// `kill -9` while a process writes: what it was told is kept is kept, and the audit is whole.
@Suite(.serialized, .timeLimit(.minutes(3))) struct StoreKillTests {
  private static let writer: URL? = {
    // Beside the tests' own program.
    guard let own = CommandLine.arguments.first else { return nil }
    let path = URL(fileURLWithPath: own).deletingLastPathComponent().appending(path: "StoreWriter")
    return FileManager.default.isExecutableFile(atPath: path.path) ? path : nil
  }()

  @Test(.enabled(if: writer != nil, "StoreWriter isn't built beside the tests"))
  func nothingThatWasAcknowledgedIsLost() throws {
    let directory = try TemporaryDirectory()
    let key = try PrivateKey.generate()
    let keyPath = "\(directory.path)/grant.key"
    try key.write(to: keyPath)
    #expect(try AccessStore(path: directory.store, key: key).setUp(time: 0))
    var expected: Set<String> = []
    var next = 1
    var acknowledged = 0
    for round in 0..<25 {
      let process = Process()
      process.executableURL = Self.writer
      process.arguments = [directory.store, keyPath, "\(next)"]
      let pipe = Pipe()
      process.standardOutput = pipe
      try process.run()
      // At some time within the writing of one of the first changes, or before.
      var output = Data()
      while !output.contains(0x0A) {
        let more = pipe.fileHandleForReading.availableData
        if more.isEmpty { break }
        output += more
      }
      usleep(UInt32.random(in: 0...150_000))
      kill(process.processIdentifier, SIGKILL)
      output += pipe.fileHandleForReading.readDataToEndOfFile()
      process.waitUntilExit()
      #expect(process.terminationReason == .uncaughtSignal)
      // A line that was cut off tells of something that is kept, too, but not for sure what.
      let lines = String(decoding: output, as: UTF8.self).split(separator: "\n", omittingEmptySubsequences: false)
        .dropLast()
      for line in lines {
        let words = line.split(separator: " ")
        guard words.count == 2 else { continue }
        if words[0] == "added" { expected.insert(String(words[1])) } else { expected.remove(String(words[1])) }
        acknowledged += 1
      }
      let store = try AccessStore(path: directory.store, key: key)
      let kept = Set(store.state.sites.keys)
      // One change may have been made whose answer wasn't heard any more.
      let difference = kept.symmetricDifference(expected)
      #expect(difference.count <= 1, "round \(round): \(difference)")
      expected = kept
      next = (kept.compactMap { Int($0.dropFirst(5)) }.max() ?? 0) + 2
      next = max(next, (lines.compactMap { Int($0.split(separator: "-").last ?? "") }.max() ?? 0) + 2)
      guard case .success(let head) = try store.verifyAudit() else {
        Issue.record("round \(round): \(try store.verifyAudit())")
        return
      }
      #expect(head.number >= acknowledged + 1)
    }
    print("kill -9: 25 rounds, \(acknowledged) acknowledged changes, none lost")
    #expect(acknowledged > 25)
  }
}
