import Glibc
import Kernel
import Primitives
import Synchronization
import Testing

@testable import Service

@Suite(.serialized) struct ManagementSocketTests {
  /// A fresh directory that the caller removes.
  private func directory() throws -> String {
    var template = Array("/tmp/service-XXXXXX".utf8CString)
    let made = unsafe template.withUnsafeMutableBufferPointer { unsafe $0.baseAddress.flatMap { unsafe mkdtemp($0) } }
    return try unsafe String(cString: #require(made))
  }

  @Test func answersAndRefuses() throws {
    let directory = try directory()
    defer { unsafe rmdir(directory) }
    let socket = try ManagementSocket(directory: directory, program: "demo", version: "1.0") { request in
      request.command == "echo"
        ? .success(request.arguments) : .failure("unknownCommand", "no command \(request.command)")
    }
    var information = stat()
    #expect(unsafe stat(socket.path, &information) == 0 && information.st_mode & 0o777 == 0o600)

    let client = ManagementClient(directory: directory, program: "demo", version: "1.0")
    let answer = try client.request(ManagementRequest("echo", ["a": "b\n"]), as: [String: String].self)
    #expect(answer == ["a": "b\n"])
    #expect(throws: ManagementError.refused(code: "unknownCommand", message: "no command x")) {
      try client.perform(ManagementRequest("x"))
    }
    #expect(throws: ManagementSocketError.alreadyRunning(path: socket.path)) {
      try ManagementSocket(directory: directory, program: "demo", version: "1.0") { _ in .done }
    }
    socket.stop()
    #expect(throws: ManagementError.notRunning(program: "demo", path: socket.path)) {
      try client.perform(ManagementRequest("echo"))
    }
  }

  @Test func replacesAStaleSocketButNothingElse() throws {
    let directory = try directory()
    let path = directory + "/demo.sock"
    defer { unsafe rmdir(directory) }
    do { _ = try UnixSocket.listen(on: path) }
    let socket = try ManagementSocket(directory: directory, program: "demo", version: "1.0") { _ in .done }
    try ManagementClient(directory: directory, program: "demo", version: "1.0").perform(ManagementRequest("any"))
    socket.stop()

    let file = unsafe open(path, O_CREAT | O_WRONLY, 0o600)
    close(file)
    #expect(throws: ManagementSocketError.notASocket(path: path)) {
      try ManagementSocket(directory: directory, program: "demo", version: "1.0") { _ in .done }
    }
    unsafe unlink(path)
    #expect(throws: ManagementSocketError.self) {
      try ManagementSocket(directory: "/tmp/" + String(repeating: "x", count: 120), program: "demo", version: "1.0") {
        _ in .done
      }
    }
  }

  @Test func boundsARequest() throws {
    let directory = try directory()
    defer { unsafe rmdir(directory) }
    let socket = try ManagementSocket(directory: directory, program: "demo", version: "1.0") { _ in .done }
    defer { socket.stop() }
    for bytes in [[UInt8](repeating: 0x20, count: ManagementRequest.sizeLimit + 1), Array("[1]\n".utf8)] {
      let client = try UnixSocket.connect(to: socket.path, timeoutSeconds: 5)
      // The service may have closed before all is written.
      try? client.writeAll(bytes)
      let answer = try? LineReader.read(from: client, limit: ManagementResponse.sizeLimit)
      if bytes.count < 10 {
        #expect(String(decoding: answer ?? [], as: UTF8.self).contains("malformed"))
      } else {
        #expect(answer == nil)
      }
    }
  }

  @Test(arguments: [
    ("unknownSite", ExitCode.data), ("siteOffline", .temporaryFailure), ("badCredentials", .notPermitted),
    ("badConfiguration", .configuration), ("unknownCommand", .software), ("failed", .temporaryFailure),
    ("versionIncompatible", .software),
  ]) func refusalsHaveTheirExitStatus(code: String, expected: ExitCode) {
    #expect(ManagementError.refused(code: code, message: "").exitCode == expected)
  }

  private struct Report: Codable { var sites: Int }

  @Test func aServiceOfAnotherVersion() throws {
    let directory = try directory()
    defer { unsafe rmdir(directory) }
    let answers: [(String, ManagementResponse)] = [
      // An earlier one doesn't tell yet what is asked for; a later one tells more, or what was meant differently.
      ("0.9", .success(["other": 1])), ("2.0", .success(["sites": "seven"])), ("1.0", .success(["sites": [1]])),
    ]
    for (version, answer) in answers {
      let socket = try ManagementSocket(directory: directory, program: "demo", version: version) { _ in answer }
      defer { socket.stop() }
      let client = ManagementClient(directory: directory, program: "demo", version: "1.0")
      let expected: ManagementError =
        version == "1.0"
        ? .malformed(program: "demo") : .otherVersion(program: "demo", running: version, own: "1.0")
      #expect(throws: expected) { _ = try client.request(ManagementRequest("status"), as: Report.self) }
      #expect(expected.exitCode == .software)
      #expect(version == "1.0" || "\(expected)".contains("running demo is of version \(version), this program of 1.0"))
    }
    let earlier = try ManagementSocket(directory: directory, program: "demo", version: "0.9") { _ in
      .failure("unknownCommand", "there is no command fly")
    }
    let flying = ManagementClient(directory: directory, program: "demo", version: "1.0")
    #expect(throws: ManagementError.otherVersion(program: "demo", running: "0.9", own: "1.0")) {
      try flying.perform(ManagementRequest("fly"))
    }
    earlier.stop()
    let later = try ManagementSocket(directory: directory, program: "demo", version: "2.0") { _ in
      .success(["sites": 7, "planets": 8])
    }
    let client = ManagementClient(directory: directory, program: "demo", version: "1.0")
    #expect(try client.request(ManagementRequest("status"), as: Report.self).sites == 7)
    later.stop()
  }

  /// A service that is killed in the middle of its answer will be back: who watches goes on.
  @Test(arguments: ["", "{\"ok\":true,\"resu"]) func aServiceThatDiesWhileItAnswers(part: String) throws {
    let directory = try directory()
    let path = directory + "/demo.sock"
    defer {
      unsafe unlink(path)
      unsafe rmdir(directory)
    }
    let listener = try UnixSocket.listen(on: path)
    let fd = listener.release()
    let serving = try Thread(name: "dying") {
      let listener = OwnedDescriptor(owning: fd)
      _ = try? listener.wait(for: .readable, until: Clock.now + .seconds(10))
      guard let socket = try? Socket.accept(from: listener) else { return }
      try? UnixSocket.setBlocking(socket, timeoutSeconds: 5)
      _ = try? LineReader.read(from: socket, limit: 4096)
      try? socket.writeAll(Array(part.utf8))
    }
    let client = ManagementClient(directory: directory, program: "demo", version: "1.0")
    let expected = ManagementError.interrupted(program: "demo")
    #expect(throws: expected) { _ = try client.request(ManagementRequest("status"), as: Report.self) }
    #expect(expected.exitCode == .unavailable && expected.isTransient)
    serving.join()
  }

  /// Before services told their version.
  @Test func aServiceThatCantSayItsVersion() throws {
    let directory = try directory()
    let path = directory + "/demo.sock"
    defer {
      unsafe unlink(path)
      unsafe rmdir(directory)
    }
    let listener = try UnixSocket.listen(on: path)
    let fd = listener.release()
    let serving = try Thread(name: "old") {
      let listener = OwnedDescriptor(owning: fd)
      for _ in 0..<2 {
        _ = try? listener.wait(for: .readable, until: Clock.now + .seconds(10))
        guard let socket = try? Socket.accept(from: listener) else { return }
        try? UnixSocket.setBlocking(socket, timeoutSeconds: 5)
        let line = String(decoding: (try? LineReader.read(from: socket, limit: 4096)) ?? [], as: UTF8.self)
        let answer =
          line.contains("status")
          ? #"{"ok":true,"result":{"x":1}}"# : #"{"ok":false,"code":"unknownCommand","message":"no command version"}"#
        try? socket.writeAll(Array((answer + "\n").utf8))
      }
    }
    let client = ManagementClient(directory: directory, program: "demo", version: "1.0")
    #expect(throws: ManagementError.otherVersion(program: "demo", running: nil, own: "1.0")) {
      _ = try client.request(ManagementRequest("status"), as: Report.self)
    }
    serving.join()
  }

  @Test func anAnswerIsBounded() throws {
    let directory = try directory()
    defer { unsafe rmdir(directory) }
    let socket = try ManagementSocket(directory: directory, program: "demo", version: "1.0") { request in
      .success(["text": String(repeating: "x", count: Int(request.command) ?? 0)])
    }
    defer { socket.stop() }
    let client = ManagementClient(directory: directory, program: "demo", version: "1.0")
    let most = ManagementResponse.sizeLimit - 40
    #expect(
      try client.request(ManagementRequest("\(most)"), as: [String: String].self)["text"]?.count == most)
    #expect(throws: ManagementError.refused(code: "tooLong", message: "the answer is too long")) {
      _ = try client.request(ManagementRequest("\(most + 40)"), as: [String: String].self)
    }
    #expect(try client.request(ManagementRequest("5"), as: [String: String].self)["text"]?.count == 5)
  }

  /// Those who ask beyond the bound wait, and are served when others have gone; who says nothing has so long.
  @Test func requestsAtOnceAndTheirTimeAreBounded() throws {
    let directory = try directory()
    defer { unsafe rmdir(directory) }
    let running = Atomic(0)
    let most = Atomic(0)
    let socket = try ManagementSocket(directory: directory, program: "demo", version: "1.0") { _ in
      let now = running.add(1, ordering: .relaxed).newValue
      most.max(now, ordering: .relaxed)
      usleep(200_000)
      running.subtract(1, ordering: .relaxed)
      return .done
    }
    defer { socket.stop() }
    let client = ManagementClient(directory: directory, program: "demo", version: "1.0")
    // Half of the places are taken by some who never ask.
    let silent = try (0..<ManagementSocket.concurrencyLimit / 2).map { _ in
      try UnixSocket.connect(to: socket.path, timeoutSeconds: 10).release()
    }
    let threads = try (0..<20).map { _ in
      try Kernel.Thread(name: "client") { #expect(throws: Never.self) { try client.perform(ManagementRequest("x")) } }
    }
    for thread in threads { thread.join() }
    let peak = most.load(ordering: .relaxed)
    #expect(peak <= ManagementSocket.concurrencyLimit / 2)
    for fd in silent {
      let descriptor = OwnedDescriptor(owning: fd)
      // Closed without a word.
      #expect(throws: SystemError.self) { _ = try LineReader.read(from: descriptor, limit: 100) }
    }
    let start = Clock.now
    try client.perform(ManagementRequest("x"))
    #expect(Clock.now - start < .seconds(3), "all places are free")
  }
}
