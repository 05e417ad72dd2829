import Kernel
import Primitives

/// Why an outbound connection didn't come about.
public enum DialError: Error, Hashable, Sendable, CustomStringConvertible {
  /// The name is unknown, or no resolver answered.
  case resolve(ResolveError)
  case refused(Endpoint)
  /// No route, no network, or a firewall that says so.
  case unreachable(Endpoint, SystemError)
  case timedOut(HostPort)
  /// The proxy answered, and it wasn't yes.
  case proxy(HostPort, HTTPConnectError)
  case cancelled
  case system(SystemError)

  public var description: String {
    switch self {
    case .resolve(let error): error.description
    case .refused(let endpoint): "\(endpoint) refused the connection"
    case .unreachable(_, let error): error.description
    case .timedOut(let host): "\(host) didn't answer in time"
    case .proxy(let host, let error): "proxy \(host): \(error)"
    case .cancelled: "cancelled"
    case .system(let error): error.description
    }
  }

  /// Of several failed addresses the one that tells most is reported.
  var informationRank: Int {
    switch self {
    case .cancelled: 5
    case .proxy: 4
    case .refused: 3
    case .timedOut: 2
    case .unreachable: 1
    case .resolve, .system: 0
    }
  }
}
