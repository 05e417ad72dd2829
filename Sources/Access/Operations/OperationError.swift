/// Why an operation wasn't carried out.
public enum OperationError: Error, Hashable, Sendable, Codable {
  /// There is none, or none that the asker may know of: what it is, and its name.
  case unknown(String, String)
  case exists(String, String)
  case notPermitted(needs: AccessRight)
  /// The asker is no account that may be used now.
  case noAccount(String)
  case invalid(String)
  case tooMany(String, Int)
  /// A domain that isn't empty.
  case notEmpty(String)
  case store(String)
}

extension OperationError: CustomStringConvertible {
  public var description: String {
    switch self {
    case .unknown(let word, let name): "there is no \(word) `\(name)`"
    case .exists(let word, let name): "\(word) `\(name)` exists already"
    case .notPermitted(.host): "that is for those who work on GateManager's own host"
    case .notPermitted(.administer): "that is for domain administrators"
    case .notPermitted(.operate): "that is for administrators"
    case .notPermitted: "that is for administrators and observers"
    case .noAccount(let name): "account \(name) may not be used now"
    case .invalid(let reason): reason
    case .tooMany(let word, let limit): "there are \(limit) of the kind `\(word)`, which is the most: remove some"
    case .notEmpty(let name): "domain \(name) isn't empty: remove or move what is in it first"
    case .store(let reason): reason
    }
  }
}
