import Foundation
import Glibc
import Kernel
import Service
import Testing
import Trespasser

@testable import LinkManager
@testable import SiteManager

/// Whoever takes a LinkManager or a SiteManager over can do what the host does, and nothing else.
@Suite(
  .serialized,
  .enabled(if: FileRestriction.availableVersion != nil, "the kernel has no Landlock, or it isn't switched on"))
struct HostConfinementTests {
  /// A place of one's own, and one beside it.
  private struct Ground: ~Copyable {
    let path = NSTemporaryDirectory() + "confined-\(UUID().uuidString)"
    var own: String { path + "/own" }
    var other: String { path + "/other" }

    init() throws {
      for directory in [own, other, path + "/agents"] {
        try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
        try Data("x".utf8).write(to: URL(fileURLWithPath: directory + "/file"))
      }
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    var profiles: [(String, ConfinementProfile)] {
      [
        ("linkmanager", .linkManager(directory: own)),
        ("sitemanager", .siteManager(directory: own, agents: path + "/agents/file")),
      ]
    }
  }

  @Test func whatNoHostDoesEndsTheProcess() throws {
    let ground = try Ground()
    for (host, profile) in ground.profiles {
      let trespasser = Trespasser(profile)
      for (name, argument) in [
        ("execute", ""), ("trace", "\(getppid())"), ("other memory", "\(getppid())"), ("mount", ""), ("namespace", ""),
        ("bpf", ""), ("keyring", ""), ("ring", ""), ("module", ""), ("other user", ""), ("root directory", ""),
        ("clock", ""),
      ] {
        #expect(trespasser.attempt(name, argument) == .ended(SIGSYS), "\(host): \(name)")
      }
    }
  }

  @Test func whatLibrariesMayTryIsRefused() throws {
    let ground = try Ground()
    for (host, profile) in ground.profiles {
      let trespasser = Trespasser(profile)
      for (name, argument, code) in [
        ("process", "", EPERM), ("newer process", "", ENOSYS), ("signal", "\(getppid())", ENOSYS),
        ("thread signal", "\(getppid())", EPERM), ("written code", "", EPERM), ("anonymous code", "", EPERM),
        ("terminal", "", EPERM), ("symbolic link", ground.own + "/link", ENOSYS),
        // AF_BLUETOOTH, AF_VSOCK, AF_ALG; the audit and the firewall.
        ("stream socket", "31", EPERM), ("stream socket", "40", EPERM), ("stream socket", "38", EPERM),
        ("netlink", "9", EPERM), ("netlink", "12", EPERM),
      ] {
        #expect(trespasser.attempt(name, argument) == .refused(code), "\(host): \(name) \(argument)")
      }
      #expect(trespasser.attempt("thread") == .done, "\(host)")
      // libdispatch ends the process if it can't.
      #expect(trespasser.attempt("state of a thread") == .done, "\(host)")
    }
  }

  @Test func filesOfOthersAreOutOfReach() throws {
    let ground = try Ground()
    for (host, profile) in ground.profiles {
      let trespasser = Trespasser(profile)
      #expect(trespasser.attempt("read", ground.own + "/file") == .done, "\(host)")
      #expect(trespasser.attempt("write", ground.own + "/new") == .done, "\(host)")
      #expect(trespasser.attempt("remove", ground.own + "/new") == .done, "\(host)")
      for path in [ground.other + "/file", "/proc/\(getppid())/environ", "/usr/bin/env", "/root", "/var/log"] {
        #expect(trespasser.attempt("read", path) == .refused(EACCES), "\(host): \(path)")
      }
      for path in [
        ground.other + "/new", "/etc/relayvpn-new", "/usr/lib/relayvpn-new", "/proc/sys/kernel/core_pattern",
      ] {
        #expect(trespasser.attempt("write", path) == .refused(EACCES), "\(host): \(path)")
      }
      #expect(trespasser.attempt("remove", ground.other + "/file") == .refused(EACCES), "\(host)")
      // What names are looked up with.
      #expect(trespasser.attempt("read", "/etc/hosts") == .done, "\(host)")
    }
  }

  @Test func theAgentsFileMayBeReplacedAndNotWritten() throws {
    let ground = try Ground()
    let trespasser = Trespasser(.siteManager(directory: ground.own, agents: ground.path + "/agents/file"))
    try Data("y".utf8).write(to: URL(fileURLWithPath: ground.path + "/agents/file"), options: .atomic)
    #expect(trespasser.attempt("read", ground.path + "/agents/file") == .done)
    #expect(trespasser.attempt("write", ground.path + "/agents/file") == .refused(EACCES))
  }

  @Test func packetSocketsAreTheSitesAlone() throws {
    let ground = try Ground()
    let link = Trespasser(.linkManager(directory: ground.own))
    #expect(link.attempt("socket", "\(AF_PACKET)") == .refused(EPERM))
    guard Capabilities.permitted.contains(.rawNetwork) else { return }
    let site = Trespasser(.siteManager(directory: ground.own, agents: ground.path + "/agents/file"))
    #expect(site.attempt("socket", "\(AF_PACKET)") == .done)
  }

  @Test(.enabled(if: (FileRestriction.availableVersion ?? 0) >= 4, "Landlock judges TCP from version 4 on"))
  func noHostOpensATCPPort() throws {
    let ground = try Ground()
    for (host, profile) in ground.profiles {
      #expect(Trespasser(profile).attempt("listen", "18443") == .refused(EACCES), "\(host)")
      // Where the site waits for a device's FTP data connection.
      #expect(Trespasser(profile).attempt("listen", "0") == (profile.listens ? .done : .refused(EACCES)), "\(host)")
      // Port 1: nobody is there, which is the network's answer and not the kernel's refusal.
      #expect(Trespasser(profile).attempt("connect", "1") == .refused(ECONNREFUSED), "\(host)")
    }
  }

  #if arch(x86_64)
    @Test func callsOfAnotherArchitectureEndTheProcess() throws {
      let ground = try Ground()
      for (host, profile) in ground.profiles {
        let outcome = Trespasser(profile).attempt("old calls")
        // Kernels without calls of 32 bits end it as well.
        #expect(outcome == .ended(SIGSYS) || outcome == .ended(SIGSEGV), "\(host): \(outcome)")
      }
    }
  #endif
}
