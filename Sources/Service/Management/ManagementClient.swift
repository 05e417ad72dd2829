internal import Control
internal import FoundationEssentials
internal import Glibc
public import Kernel

/// Why a running service gave no answer.
public enum ManagementError: Error, Hashable, Sendable, CustomStringConvertible {
  /// Nobody listens at this path. `program` is the service that should.
  case notRunning(program: String, path: String)
  /// The socket is there, but this user may not use it.
  case notPermitted(path: String)
  case system(SystemError)
  /// The service took the request and gave no answer in time.
  case timedOut(program: String)
  /// The service closed the connection before it had answered: it was stopped or killed meanwhile.
  case interrupted(program: String)
  /// The answer can't be read: another version, perhaps.
  case malformed(program: String)
  /// The answer can't be read, and the running service is of another version; `nil` for one that can't say which.
  case otherVersion(program: String, running: String?, own: String)
  /// The service said no.
  case refused(code: String, message: String)

  public var description: String {
    switch self {
    case .notRunning(let program, let path):
      "\(program) isn't running (nobody listens on \(path)): start it with `\(program) run`, "
        + "and pass the same --directory to both"
    case .notPermitted(let path): "no permission to use \(path): run this as the user of the service, or as root"
    case .system(let error): "\(error)"
    case .timedOut(let program): "\(program) took the request but didn't answer in time; its log may say why"
    case .interrupted(let program): "\(program) ended before it had answered: see its log"
    case .malformed(let program):
      "\(program)'s answer can't be read: are the running service and this program of the same version?"
    case .otherVersion(let program, let running, let own):
      "the running \(program) is of version \(running?.escaped ?? "unknown"), this program of \(own), and they don't "
        + "understand each other: restart the service, so that it is the program that is installed"
    case .refused(_, let message): message.escaped
    }
  }

  /// The status to exit with.
  public var exitCode: ExitCode {
    switch self {
    case .notRunning, .timedOut, .interrupted: .unavailable
    case .notPermitted: .notPermitted
    case .system: .system
    case .malformed, .otherVersion: .software
    case .refused("badConfiguration", _): .configuration
    case .refused("badArgument", _): .usage
    case .refused("unknownCommand", _): .software
    case .refused(CaptureRequest.badFilter, _): .data
    case .refused(let code, _):
      switch FailureCode(code) {
      // What only the host itself says.
      case .other: .temporaryFailure
      case let known: CommandFailure.exitCode(for: known)
      }
    }
  }
}

/// Asks the service that listens in a directory.
public struct ManagementClient: Sendable {
  public let program: String
  public let path: String
  private let version: String

  /// - Parameters:
  ///   - program: the service's name; its socket is `DIRECTORY/PROGRAM.sock`.
  ///   - version: of the program that asks.
  public init(directory: String, program: String, version: String) {
    self.program = program
    self.version = version
    path = ManagementSocket.path(directory: directory, program: program)
  }

  /// Sends a request and waits for its answer.
  /// - Parameter timeoutSeconds: how long reading may stay without a byte.
  public func request<Result: Decodable>(
    _ request: ManagementRequest, as type: Result.Type, timeoutSeconds: Int = 60
  ) throws(ManagementError) -> Result {
    let line = try exchange(request, timeoutSeconds)
    if let envelope = try? JSONDecoder().decode(Envelope<Result>.self, from: Data(line)), envelope.ok,
      let result = envelope.result
    {
      return result
    }
    guard let refusal = try? JSONDecoder().decode(Envelope<[String: String]>.self, from: Data(line)), !refusal.ok
    else { throw incomprehensible() }
    let error = ManagementError.refused(code: refusal.code ?? "", message: refusal.message ?? "refused")
    // A command that a later version has added.
    guard refusal.code == "unknownCommand", case .otherVersion(let program, let running, let own) = incomprehensible()
    else { throw error }
    throw .otherVersion(program: program, running: running, own: own)
  }

  /// Sends a request whose answer is followed by bytes without end, and gives the connection that they come by. It is
  /// non-blocking; to shut down its sending side asks the service to end.
  public func stream(
    _ request: ManagementRequest, timeoutSeconds: Int = 60
  ) throws(ManagementError) -> OwnedDescriptor {
    guard let data = try? JSONEncoder().encode(request), data.count < ManagementRequest.sizeLimit else {
      throw .malformed(program: program)
    }
    do {
      let socket = try UnixSocket.connect(to: path, timeoutSeconds: timeoutSeconds)
      try socket.writeAll(Array(data) + [0x0A])
      let line = try LineReader.readAlone(from: socket, limit: ManagementRequest.sizeLimit)
      try socket.setNonblocking(true)
      if let problem = refusal(in: line) { throw problem }
      return socket
    } catch let error as ManagementError {
      throw error
    } catch let error as SystemError {
      throw failure(error)
    } catch {
      throw .malformed(program: program)
    }
  }

  /// Why the answer that a stream begins with is none.
  private func refusal(in line: [UInt8]) -> ManagementError? {
    guard let answer = try? JSONDecoder().decode(Envelope<[String: String]>.self, from: Data(line)) else {
      return incomprehensible()
    }
    if answer.ok { return nil }
    if answer.code == "unknownCommand" { return incomprehensible() }
    return .refused(code: answer.code ?? "", message: answer.message ?? "refused")
  }

  /// Why an answer can't be read: most likely the service was started before the program was updated.
  private func incomprehensible() -> ManagementError {
    let answer = try? exchange(ManagementRequest(ManagementRequest.version), 5)
    let running = answer.flatMap { try? JSONDecoder().decode(Envelope<[String: String]>.self, from: Data($0)) }
    let found = running?.result?[ManagementRequest.version]
    return found == version
      ? .malformed(program: program) : .otherVersion(program: program, running: found, own: version)
  }

  /// Sends a request whose answer carries nothing but success.
  public func perform(_ request: ManagementRequest, timeoutSeconds: Int = 60) throws(ManagementError) {
    _ = try self.request(request, as: [String: String].self, timeoutSeconds: timeoutSeconds)
  }

  private func exchange(_ request: ManagementRequest, _ timeoutSeconds: Int) throws(ManagementError) -> [UInt8] {
    guard let data = try? JSONEncoder().encode(request), data.count < ManagementRequest.sizeLimit else {
      throw .malformed(program: program)
    }
    do throws(SystemError) {
      let socket = try UnixSocket.connect(to: path, timeoutSeconds: timeoutSeconds)
      try socket.writeAll(Array(data) + [0x0A])
      return try LineReader.read(from: socket, limit: ManagementResponse.sizeLimit)
    } catch {
      throw failure(error)
    }
  }

  private func failure(_ error: SystemError) -> ManagementError {
    switch error.code {
    case ENOENT, ECONNREFUSED: .notRunning(program: program, path: path)
    case EACCES, EPERM: .notPermitted(path: path)
    case EAGAIN: .timedOut(program: program)
    case ECONNRESET, EPIPE: .interrupted(program: program)
    default: .system(error)
    }
  }
}

enum LineReader {
  /// Reads up to a line feed, which is left out. EAGAIN when nothing came in time, EPIPE when the line was cut,
  /// EMSGSIZE when it is too long.
  static func read(from socket: borrowing OwnedDescriptor, limit: Int) throws(SystemError) -> [UInt8] {
    var line: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 16 << 10)
    while true {
      var span = chunk.mutableSpan
      guard case .moved(let count) = try blocking(socket, &span) else {
        throw SystemError(call: "read", code: EPIPE)
      }
      if let end = chunk[..<count].firstIndex(of: 0x0A) {
        line += chunk[..<end]
        guard line.count < limit else { throw SystemError(call: "read", code: EMSGSIZE) }
        return line
      }
      line += chunk[..<count]
      guard line.count < limit else { throw SystemError(call: "read", code: EMSGSIZE) }
    }
  }

  /// The same, byte by byte, so that nothing of what follows the line is taken.
  static func readAlone(from socket: borrowing OwnedDescriptor, limit: Int) throws(SystemError) -> [UInt8] {
    var line: [UInt8] = []
    var byte: [UInt8] = [0]
    while line.count < limit {
      var span = byte.mutableSpan
      guard case .moved = try blocking(socket, &span) else { throw SystemError(call: "read", code: EPIPE) }
      if byte[0] == 0x0A { return line }
      line.append(byte[0])
    }
    throw SystemError(call: "read", code: EMSGSIZE)
  }

  private static func blocking(
    _ socket: borrowing OwnedDescriptor, _ span: inout MutableSpan<UInt8>
  ) throws(SystemError) -> Transfer {
    let transfer = try socket.read(into: &span)
    if transfer == .wouldBlock { throw SystemError(call: "read", code: EAGAIN) }
    return transfer
  }
}
