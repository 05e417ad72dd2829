import Access
import ArgumentParser
import FoundationEssentials
import Kernel
import Service

/// What a running service answers to an operation.
enum OperationReply: Codable, Sendable {
  case answer(OperationAnswer)
  case refused(OperationError)
}

extension ManagementRequest {
  static let operation = "operation"
  private static let argument = "operation"

  init(_ operation: Operation) throws {
    let text = String(decoding: try JSONEncoder().encode(operation), as: UTF8.self)
    self.init(Self.operation, [Self.argument: text])
  }

  /// `nil` for what isn't one that this version knows.
  var operation: Operation? {
    guard command == Self.operation, let text = arguments[Self.argument] else { return nil }
    return try? JSONDecoder().decode(Operation.self, from: Data(text.utf8))
  }
}

extension GateService {
  /// Answers what a command asks, which is somebody who may use the directory.
  func answer(_ request: ManagementRequest) -> ManagementResponse {
    guard let operation = request.operation else {
      return .failure("malformed", "the operation can't be understood: is the program of the service's version?")
    }
    do throws(OperationError) {
      return .success(
        OperationReply.answer(try operations.perform(operation, by: .host, time: Clock.unixMicroseconds)))
    } catch {
      return .success(OperationReply.refused(error))
    }
  }
}

extension DirectoryOption {
  /// Has the running service carry an operation out; or does so itself, where none runs.
  func perform(_ operation: Operation) throws -> OperationAnswer {
    do {
      switch try client.request(try ManagementRequest(operation), as: OperationReply.self, timeoutSeconds: 600) {
      case .answer(let answer): return answer
      case .refused(let error): throw error
      }
    } catch ManagementError.notRunning {
      let keys = try gate.loadKeys()
      let operations = Operations(store: try gate.openStore(keys), gateKey: keys.server.keyHash, issuer: keys.gate)
      return try operations.perform(operation, by: .host, time: Clock.unixMicroseconds)
    }
  }
}

extension OperationError {
  var exitCode: Service.ExitCode {
    switch self {
    case .notPermitted, .noAccount: .notPermitted
    case .store: .system
    case .unknown, .exists, .invalid, .tooMany, .notEmpty: .data
    }
  }
}

extension DomainPath: ExpressibleByArgument {
  public init?(argument: String) {
    self.init(argument.split(separator: ".").first == "ROOT" ? argument : "ROOT.\(argument)")
  }
}

extension AccountRole: ExpressibleByArgument {
  private static let words: [(String, AccountRole)] = [
    ("user", .linkUser), ("mobile", .mobileUser), ("basic", .basicAdministrator),
    ("administrator", .domainAdministrator), ("observer", .domainObserver),
  ]

  public init?(argument: String) {
    guard let role = Self.words.first(where: { $0.0 == argument })?.1 else { return nil }
    self = role
  }

  var word: String { Self.words.first { $0.1 == self }?.0 ?? rawValue }

  static let help: ArgumentHelp = "user, mobile, basic, administrator or observer."
}
