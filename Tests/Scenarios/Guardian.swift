import Foundation

/// A process that takes a test's namespaces down when the test lets go of it, or dies.
struct Guardian {
  private let process: pid_t
  /// The writing end of its standard input. Not inherited by anyone, so that it ends with this process at the latest.
  private let input: CInt

  /// - Parameter script: of bash, whose verb `guard` waits for the end of its input and then takes everything down.
  init(_ script: String, _ environment: [String: String]) throws {
    var ends: [CInt] = [-1, -1]
    guard unsafe pipe(&ends) == 0 else { throw Shell.Failure(what: "pipe: error \(errno)") }
    for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
    // In a session of its own, out of Ctrl-C's reach.
    process = try Shell.start(["setsid", "--wait", "bash", script, "guard"], environment: environment, input: ends[0])
    close(ends[0])
    input = ends[1]
  }

  func end() {
    close(input)
    _ = Shell.wait(for: process)
  }
}
