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
    let socket = try ManagementSocket(directory: directory, program: "demo") { request in
      request.command == "echo"
        ? .success(request.arguments) : .failure("unknownCommand", "no command \(request.command)")
    }
    var information = stat()
    #expect(unsafe stat(socket.path, &information) == 0 && information.st_mode & 0o777 == 0o600)

    let client = ManagementClient(directory: directory, program: "demo")
    let answer = try client.request(ManagementRequest("echo", ["a": "b\n"]), as: [String: String].self)
    #expect(answer == ["a": "b\n"])
    #expect(throws: ManagementError.refused(code: "unknownCommand", message: "no command x")) {
      try client.perform(ManagementRequest("x"))
    }
    #expect(throws: ManagementSocketError.alreadyRunning(path: socket.path)) {
      try ManagementSocket(directory: directory, program: "demo") { _ in .done }
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
    let socket = try ManagementSocket(directory: directory, program: "demo") { _ in .done }
    try ManagementClient(directory: directory, program: "demo").perform(ManagementRequest("any"))
    socket.stop()

    let file = unsafe open(path, O_CREAT | O_WRONLY, 0o600)
    close(file)
    #expect(throws: ManagementSocketError.notASocket(path: path)) {
      try ManagementSocket(directory: directory, program: "demo") { _ in .done }
    }
    unsafe unlink(path)
    #expect(throws: ManagementSocketError.self) {
      try ManagementSocket(directory: "/tmp/" + String(repeating: "x", count: 120), program: "demo") { _ in .done }
    }
  }

  @Test func boundsARequest() throws {
    let directory = try directory()
    defer { unsafe rmdir(directory) }
    let socket = try ManagementSocket(directory: directory, program: "demo") { _ in .done }
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

  @Test func anAnswerIsBounded() throws {
    let directory = try directory()
    defer { unsafe rmdir(directory) }
    let socket = try ManagementSocket(directory: directory, program: "demo") { request in
      .success(["text": String(repeating: "x", count: Int(request.command) ?? 0)])
    }
    defer { socket.stop() }
    let client = ManagementClient(directory: directory, program: "demo")
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
    let socket = try ManagementSocket(directory: directory, program: "demo") { _ in
      let now = running.add(1, ordering: .relaxed).newValue
      most.max(now, ordering: .relaxed)
      usleep(200_000)
      running.subtract(1, ordering: .relaxed)
      return .done
    }
    defer { socket.stop() }
    let client = ManagementClient(directory: directory, program: "demo")
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
