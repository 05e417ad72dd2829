import Access
import Crypto
import Glibc
import Service

/// Why the directory can't be used.
enum StoreError: Error, Hashable, CustomStringConvertible {
  case notInitialized(String)
  case alreadyInitialized(String)
  case invalidName(String)
  case malformed(path: String, reason: String)
  /// A file that holds something else than it should; and what its owner can do about it.
  case unreadable(path: String, StateFileError, mending: String)
  case failed(CryptoError)
  case store(AccessStoreError)

  var description: String {
    switch self {
    case .notInitialized(let path):
      "\(path) holds no GateManager: make one with `gatemanager init --directory \(path) --name NAME`"
    case .alreadyInitialized(let path):
      "\(path) holds a GateManager already. Its keys are what all sites and users trust, so they are not made anew: "
        + "choose another --directory, or remove this one by hand"
    case .invalidName(let name): "`\(name.escaped)` is no name: \(AccessName.rule)"
    case .malformed(let path, let reason): "\(path): \(reason.escaped)"
    case .unreadable(let path, let error, let mending):
      "\(path)\(error): "
        + (error.isOfLaterVersion ? "update this program, or restore the file of before" : mending)
    case .failed(let error): CommandFailure(error).description
    case .store(let error): "\(error)"
    }
  }

  var exitCode: ExitCode {
    switch self {
    case .notInitialized, .malformed, .unreadable: .configuration
    case .store(.failed): .system
    case .store: .configuration
    case .alreadyInitialized: .cannotCreate
    case .invalidName: .data
    case .failed(let error):
      switch error.kind {
      case .system(EACCES), .system(EPERM): .notPermitted
      case .system: .system
      default: .software
      }
    }
  }
}
