import Foundation

/// What a program said and how it ended.
struct Output: CustomStringConvertible {
  /// The exit status, or 128 and the signal's number.
  var status: Int32
  /// Standard output and standard error, as they came.
  var text: String

  /// The last line, where the functions of the demonstration say what they saw.
  var lastLine: String { text.split(separator: "\n").last.map(String.init) ?? "" }

  var description: String { "exit status \(status): \(text)" }
}

/// Runs programs; what they leave in the background goes on.
enum Shell {
  struct Failure: Error {
    var what: String
  }

  /// Runs a program with a limit of its own time, in seconds.
  ///
  /// Its output goes to a file and not to a pipe, which a background process could keep open.
  static func run(_ arguments: [String], environment: [String: String] = [:], limit: Int = 120) throws -> Output {
    let file = NSTemporaryDirectory() + "/relayvpn-scenario-\(UUID().uuidString)"
    defer { try? FileManager.default.removeItem(atPath: file) }
    let process = try start(
      ["timeout", "--kill-after=5", "\(limit)"] + arguments, environment: environment, output: file)
    let status = wait(for: process)
    return Output(
      status: status, text: String(decoding: try Data(contentsOf: URL(fileURLWithPath: file)), as: UTF8.self))
  }

  /// Starts a program; the caller waits for it.
  ///
  /// By posix_spawn, because Foundation's `Process` waits until background processes have ended as well.
  /// - Parameters:
  ///   - input: its standard input.
  ///   - output: a file for standard output and standard error.
  static func start(
    _ arguments: [String], environment: [String: String] = [:], input: CInt? = nil, output: String = "/dev/null"
  ) throws -> pid_t {
    let settings = environment.map { "\($0.key)=\($0.value)" }
    var words: [UnsafeMutablePointer<CChar>?] = unsafe []
    for text in ["env"] + settings + arguments { unsafe words.append(strdup(text)) }
    unsafe words.append(nil)
    defer { while let last = unsafe words.popLast() { unsafe free(last) } }
    var actions = unsafe posix_spawn_file_actions_t()
    unsafe posix_spawn_file_actions_init(&actions)
    defer { unsafe posix_spawn_file_actions_destroy(&actions) }
    if let input {
      unsafe posix_spawn_file_actions_adddup2(&actions, input, 0)
    } else {
      unsafe posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
    }
    unsafe posix_spawn_file_actions_addopen(&actions, 1, output, O_WRONLY | O_CREAT | O_APPEND, 0o600)
    unsafe posix_spawn_file_actions_adddup2(&actions, 1, 2)
    var process: pid_t = 0
    let code = unsafe posix_spawn(&process, "/usr/bin/env", &actions, nil, &words, environ)
    guard code == 0 else { throw Failure(what: "posix_spawn: error \(code)") }
    return process
  }

  static func wait(for process: pid_t) -> Int32 {
    var status: CInt = 0
    while unsafe waitpid(process, &status, 0) < 0, errno == EINTR {}
    let signal = status & 0x7F
    return signal == 0 ? (status >> 8) & 0xFF : 128 + signal
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
