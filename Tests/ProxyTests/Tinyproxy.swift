import Glibc
import Kernel
import Primitives

@testable import Proxy

/// A real tinyproxy on 127.0.0.1 for one test.
struct Tinyproxy {
  static var path: String? {
    ["/usr/bin/tinyproxy", "/usr/sbin/tinyproxy", "/usr/local/bin/tinyproxy"].first { unsafe access($0, X_OK) == 0 }
  }

  let address: HostPort
  private let process: pid_t
  private let file: String

  struct Failed: Error {}

  /// Starts it and waits until it answers. Only CONNECT to `port` is allowed.
  init(user: String, password: String, allowing port: UInt16) throws {
    // A port that was free a moment ago.
    let probe = try Socket.listen(on: Endpoint(IPAddress(127, 0, 0, 1), 0))
    guard let endpoint = Socket.localEndpoint(probe), let program = Self.path else { throw Failed() }
    _ = consume probe
    address = HostPort(endpoint)
    file = "/tmp/relayvpn-tinyproxy-\(getpid())-\(endpoint.port).conf"
    let text = """
      Port \(endpoint.port)
      Listen 127.0.0.1
      Timeout 20
      MaxClients 10
      BasicAuth \(user) \(password)
      ConnectPort \(port)

      """
    let descriptor = unsafe open(file, O_WRONLY | O_CREAT | O_TRUNC, 0o600)
    guard descriptor >= 0 else { throw Failed() }
    try OwnedDescriptor(owning: descriptor).writeAll(Array(text.utf8))
    var arguments: [UnsafeMutablePointer<CChar>?] = unsafe []
    for text in [program, "-d", "-c", file] { unsafe arguments.append(strdup(text)) }
    unsafe arguments.append(nil)
    defer { while let last = unsafe arguments.popLast() { unsafe free(last) } }
    var actions = unsafe posix_spawn_file_actions_t()
    unsafe posix_spawn_file_actions_init(&actions)
    defer { unsafe posix_spawn_file_actions_destroy(&actions) }
    for number in 1...2 as ClosedRange<CInt> {
      unsafe posix_spawn_file_actions_addopen(&actions, number, "/dev/null", O_WRONLY, 0)
    }
    var process: pid_t = 0
    guard unsafe posix_spawn(&process, program, &actions, nil, &arguments, environ) == 0 else { throw Failed() }
    self.process = process
    for _ in 0..<100 {
      if (try? Outbound.connect(to: address, until: soon)) != nil { return }
      usleep(50_000)
    }
    stop()
    throw Failed()
  }

  func stop() {
    // It would wait for its open connections to end.
    kill(process, SIGKILL)
    var status: CInt = 0
    unsafe waitpid(process, &status, 0)
    unsafe unlink(file)
  }
}
