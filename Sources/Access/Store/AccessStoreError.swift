internal import GRDB

/// Why the store can't be used.
public enum AccessStoreError: Error, Hashable, Sendable, CustomStringConvertible {
  /// A later version of the program has written it.
  case laterVersion(path: String)
  /// Not a store, or a damaged one.
  case damaged(path: String, reason: String)
  /// What stands in a row isn't what should.
  case malformed(String)
  case failed(String)

  public var description: String {
    switch self {
    case .laterVersion(let path):
      "\(path): a later version of this program has written it: update this program, or restore a backup of before"
    case .damaged(let path, let reason): "\(path) is damaged (\(reason)): restore it from a backup"
    case .malformed(let reason): "the store holds what can't be understood: \(reason)"
    case .failed(let reason): "the store can't be used: \(reason)"
    }
  }

  init(_ error: any Error, path: String) {
    switch error {
    case let error as AccessStoreError: self = error
    case let error as DatabaseError
    where error.resultCode == .SQLITE_NOTADB || error.resultCode == .SQLITE_CORRUPT:
      self = .damaged(path: path, reason: error.message ?? "\(error.resultCode)")
    case let error as DatabaseError: self = .failed("\(path): \(error.message ?? "\(error.resultCode)")")
    case let error as DecodingError: self = .malformed("\(error)")
    default: self = .failed("\(path): \(error)")
    }
  }
}
