import Primitives

/// How many connections are nobody yet. One source alone can't use up the room of all.
struct StrangerCount: Sendable {
  private(set) var total = 0
  private var sources: [IPPrefix: Int] = [:]

  /// Counts one more, if there is room for it.
  mutating func admit(_ address: IPAddress?) -> Bool {
    guard total < GateLimits.strangers else { return false }
    if let source = Self.source(address), sources[source, default: 0] >= GateLimits.strangersPerAddress { return false }
    total += 1
    if let source = Self.source(address) { sources[source, default: 0] += 1 }
    return true
  }

  /// One that was admitted has gone, or has shown who it is.
  mutating func remove(_ address: IPAddress?) {
    total -= 1
    guard let source = Self.source(address), let count = sources[source] else { return }
    sources[source] = count > 1 ? count - 1 : nil
  }

  /// Who has one IPv6 address has the /64 around it.
  private static func source(_ address: IPAddress?) -> IPPrefix? {
    address.flatMap { IPPrefix($0, length: $0.family == .v4 ? 32 : 64) }
  }
}
