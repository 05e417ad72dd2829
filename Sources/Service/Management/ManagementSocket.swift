internal import FoundationEssentials
internal import Glibc
public import Kernel
internal import Primitives
import Synchronization

/// Why a service can't be managed, and so doesn't start.
public enum ManagementSocketError: Error, Hashable, Sendable, CustomStringConvertible {
  /// Another process serves this directory.
  case alreadyRunning(path: String)
  /// Something that isn't a socket has the name.
  case notASocket(path: String)
  case pathTooLong(path: String)
  case system(SystemError)

  public var description: String {
    switch self {
    case .alreadyRunning(let path):
      "another process already serves \(path): stop it first, or use another --directory"
    case .notASocket(let path): "\(path) exists and isn't a socket: move it away"
    case .pathTooLong(let path):
      "\(path) is longer than a socket's path may be (\(UnixSocket.pathLimit) bytes): use a shorter --directory"
    case .system(let error): "\(error)"
    }
  }
}

/// Where a running service answers its own command line: a Unix socket that only its user may open.
///
/// One thread accepts; each request runs on a thread of its own, so that a slow one doesn't hold up the next.
public final class ManagementSocket: Sendable {
  /// Requests served at once at most; further ones wait in the backlog.
  static let concurrencyLimit = 8
  /// Rest after a request that couldn't be accepted for want of descriptors: it waits, and would be reported for ever.
  static let rest = Interval.milliseconds(200)
  /// Seconds in which a client has to send its request.
  static let requestTimeout = 5

  public let path: String
  private let stopping: Wakeup
  private let thread: Mutex<Kernel.Thread?>

  public static func path(directory: String, program: String) -> String {
    (directory.hasSuffix("/") ? String(directory.dropLast()) : directory) + "/\(program).sock"
  }

  /// Replaces the socket that a service that is gone has left behind.
  /// - Parameters:
  ///   - version: of the program, for clients of another one.
  ///   - handler: called on several threads at once; may block.
  public init(
    directory: String, program: String, version: String,
    handler: @escaping @Sendable (ManagementRequest) -> ManagementResponse
  ) throws(ManagementSocketError) {
    path = Self.path(directory: directory, program: program)
    let listener = try Self.listen(path)
    let stopping: Wakeup
    do throws(SystemError) {
      stopping = try Wakeup()
    } catch { throw .system(error) }
    self.stopping = stopping
    thread = Mutex(nil)
    let service = Acceptor(listener: listener) { request in
      request.command == ManagementRequest.version
        ? .success([ManagementRequest.version: version]) : handler(request)
    }
    do throws(SystemError) {
      let stop = try self.stopping.descriptor.duplicate()
      let end = DescriptorBox(stop)
      let started = try Kernel.Thread(name: "management") { service.run(until: end) }
      thread.withLock { $0 = started }
    } catch { throw .system(error) }
  }

  /// Takes no more requests and removes the socket. Those under way end by themselves.
  public func stop() {
    stopping.signal()
    let running = thread.withLock { $0.take() }
    guard let running else { return }
    running.join()
    unsafe unlink(path)
  }

  deinit {
    stop()
  }

  private static func listen(_ path: String) throws(ManagementSocketError) -> OwnedDescriptor {
    guard path.utf8.count <= UnixSocket.pathLimit else { throw .pathTooLong(path: path) }
    var information = stat()
    if unsafe lstat(path, &information) == 0 {
      guard information.st_mode & S_IFMT == S_IFSOCK else { throw .notASocket(path: path) }
      guard isAbandoned(path) else { throw .alreadyRunning(path: path) }
      unsafe unlink(path)
    }
    do throws(SystemError) {
      return try UnixSocket.listen(on: path)
    } catch { throw .system(error) }
  }

  /// Whether nobody listens behind the name. Any other failure to connect means that somebody may.
  private static func isAbandoned(_ path: String) -> Bool {
    do throws(SystemError) {
      _ = try UnixSocket.connect(to: path, timeoutSeconds: 1)
      return false
    } catch {
      return error.code == ECONNREFUSED || error.code == ENOENT
    }
  }
}

/// A descriptor that closures can share.
private final class DescriptorBox: Sendable {
  let descriptor: OwnedDescriptor

  init(_ descriptor: consuming OwnedDescriptor) {
    self.descriptor = descriptor
  }
}

private final class Acceptor: Sendable {
  private let listener: OwnedDescriptor
  private let handler: @Sendable (ManagementRequest) -> ManagementResponse
  private let running = Atomic<Int>(0)

  init(
    listener: consuming OwnedDescriptor, handler: @escaping @Sendable (ManagementRequest) -> ManagementResponse
  ) {
    self.listener = listener
    self.handler = handler
  }

  func run(until end: DescriptorBox) {
    guard let poller = try? Poller() else { return }
    guard (try? poller.add(end.descriptor.rawValue, token: 0, for: .readable)) != nil,
      (try? poller.add(listener.rawValue, token: 1, for: .readable)) != nil
    else { return }
    var isExhausted = false
    while true {
      let isBusy = running.load(ordering: .relaxed) >= ManagementSocket.concurrencyLimit
      try? poller.modify(listener.rawValue, token: 1, for: isBusy || isExhausted ? [] : .readable)
      let rest: Interval? = isBusy ? .milliseconds(20) : isExhausted ? ManagementSocket.rest : nil
      guard let count = try? poller.wait(timeout: rest) else { return }
      isExhausted = false
      for index in 0..<count {
        if poller.event(index).token == 0 { return }
        do throws(SystemError) { try accept() } catch { isExhausted = true }
      }
    }
  }

  private func accept() throws(SystemError) {
    guard let accepted = try Socket.accept(from: listener) else { return }
    let box = DescriptorBox(accepted)
    running.add(1, ordering: .relaxed)
    let thread = try? Kernel.Thread(name: "request") {
      let stream = self.serve(box.descriptor)
      self.running.subtract(1, ordering: .relaxed)
      stream?(box.descriptor)
    }
    if thread == nil { running.subtract(1, ordering: .relaxed) }
  }

  /// - Returns: what is to follow the answer.
  private func serve(_ socket: borrowing OwnedDescriptor) -> (@Sendable (borrowing OwnedDescriptor) -> Void)? {
    guard (try? UnixSocket.setBlocking(socket, timeoutSeconds: ManagementSocket.requestTimeout)) != nil,
      let line = try? LineReader.read(from: socket, limit: ManagementRequest.sizeLimit)
    else { return nil }
    let response: ManagementResponse
    if let request = try? JSONDecoder().decode(ManagementRequest.self, from: Data(line)) {
      response = handler(request)
    } else {
      response = .failure("malformed", "the request is not a JSON object with a member `command`")
    }
    try? socket.writeAll(response.line + [0x0A])
    return response.stream
  }
}
