import Foundation

/// What a program said and how it ended.
struct Output: CustomStringConvertible {
  var status: Int32
  /// Standard output and standard error, as they came.
  var text: String

  /// The last line, where the functions of the demonstration say what they saw.
  var lastLine: String { text.split(separator: "\n").last.map(String.init) ?? "" }

  var description: String { "exit status \(status): \(text)" }
}

/// Runs programs; what they leave in the background goes on.
enum Shell {
  /// Runs a program with a limit of its own time, in seconds.
  ///
  /// Its output goes to a file and not to a pipe, which a background process could keep open.
  static func run(
    _ arguments: [String], environment: [String: String] = [:], directory: URL? = nil, limit: Int = 120
  ) throws -> Output {
    let file = URL(fileURLWithPath: NSTemporaryDirectory())
      .appendingPathComponent("relayvpn-scenario-\(UUID().uuidString)")
    _ = FileManager.default.createFile(atPath: file.path, contents: nil)
    defer { try? FileManager.default.removeItem(at: file) }
    let handle = try FileHandle(forWritingTo: file)
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    process.arguments = ["timeout", "--kill-after=5", "\(limit)"] + arguments
    process.environment = ProcessInfo.processInfo.environment.merging(environment) { $1 }
    process.currentDirectoryURL = directory
    process.standardInput = FileHandle.nullDevice
    process.standardOutput = handle
    process.standardError = handle
    try process.run()
    process.waitUntilExit()
    try handle.close()
    return Output(
      status: process.terminationStatus, text: String(decoding: try Data(contentsOf: file), as: UTF8.self))
  }
}

/// Where things are.
enum Place {
  /// The package.
  static let root = URL(fileURLWithPath: #filePath)
    .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()

  /// The release build, which `make test` makes first. RELAYVPN_BIN names another one.
  static let binaries = ProcessInfo.processInfo.environment["RELAYVPN_BIN"] ?? root.path + "/.build/release"

  static func hasBinaries(_ names: String...) -> Bool {
    names.allSatisfy { FileManager.default.isExecutableFile(atPath: "\(binaries)/\($0)") }
  }
}
