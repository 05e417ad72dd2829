import Foundation
import Glibc
import Kernel
import Service
import Testing
import Trespasser

@testable import GateManager

/// Whoever takes a GateManager over has its directory, its open port, and nothing else.
@Suite(
  .serialized,
  .enabled(if: FileRestriction.availableVersion != nil, "the kernel has no Landlock, or it isn't switched on"))
struct GateConfinementTests {
  private let directory: String
  private var confined: Trespasser { Trespasser(.gateManager(directory: directory, sends: false)) }
  private var sending: Trespasser { Trespasser(.gateManager(directory: directory, sends: true)) }

  init() throws {
    directory = NSTemporaryDirectory() + "confined-gate-\(getpid())"
    try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
  }

  @Test func whatNoHostDoesEndsTheProcess() {
    for name in ["execute", "mount", "namespace", "bpf", "keyring", "ring", "module", "other user", "root directory"] {
      #expect(confined.attempt(name) == .ended(SIGSYS), "\(name)")
    }
    #expect(confined.attempt("trace", "\(getppid())") == .ended(SIGSYS))
  }

  @Test func opensNoSocketOfTheInternet() {
    #expect(confined.attempt("connect", "1") == .refused(EPERM))
    #expect(confined.attempt("listen", "0") == .refused(EPERM))
    #expect(confined.attempt("socket", "\(AF_PACKET)") == .refused(EPERM))
    #expect(confined.attempt("netlink", "0") == .refused(EPERM))
  }

  @Test func connectsWhereTheAuditIsSent() {
    #expect(sending.attempt("connect", "1") == .refused(ECONNREFUSED))
    #expect(sending.attempt("read", "/etc/hosts") == .done)
  }

  @Test func seesItsDirectoryAlone() {
    #expect(confined.attempt("write", directory + "/new") == .done)
    #expect(confined.attempt("remove", directory + "/new") == .done)
    for path in ["/etc/hosts", "/etc/passwd", "/tmp", "/usr/bin/env", "/proc/\(getppid())/environ", "/sys/class/net"] {
      #expect(confined.attempt("read", path) == .refused(EACCES), "\(path)")
    }
    #expect(confined.attempt("state of a thread") == .done)
    #expect(confined.attempt("write", "/proc/sys/kernel/core_pattern") == .refused(EACCES))
  }
}
