import Primitives

/// What names a flow: the protocol and both ends. For ICMP, ports are 0.
public struct FiveTuple: Hashable, Sendable, BitwiseCopyable {
  public var `protocol`: TransportProtocol
  public var source: Endpoint
  public var destination: Endpoint

  public init(protocol: TransportProtocol, source: Endpoint, destination: Endpoint) {
    self.protocol = `protocol`
    self.source = source
    self.destination = destination
  }

  /// The same flow, seen from the other end.
  public var reversed: FiveTuple {
    FiveTuple(protocol: `protocol`, source: destination, destination: source)
  }

  // Ports and protocol share a word, so that a lookup hashes five words in all.
  public func hash(into hasher: inout Hasher) {
    hasher.combine(
      UInt64(source.port) << 48 | UInt64(destination.port) << 32 | UInt64(source.address.family.rawValue) << 8
        | UInt64(`protocol`.rawValue))
    hasher.combine(UInt64(truncatingIfNeeded: source.address.value))
    hasher.combine(UInt64(truncatingIfNeeded: destination.address.value))
    if source.address.family == .v6 {
      hasher.combine(UInt64(truncatingIfNeeded: source.address.value >> 64))
      hasher.combine(UInt64(truncatingIfNeeded: destination.address.value >> 64))
    }
  }
}

extension FiveTuple: CustomStringConvertible {
  public var description: String { "\(`protocol`) \(source) > \(destination)" }
}
