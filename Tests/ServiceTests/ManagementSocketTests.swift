import Glibc
import Kernel
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
}
