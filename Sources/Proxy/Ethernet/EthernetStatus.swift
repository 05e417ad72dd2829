import Packet
import Primitives

/// One connection to an interface of a site, as one of its ends sees it. A snapshot.
public struct EthernetStatus: Hashable, Sendable {
  /// Known to the LinkManager's end.
  public var site: String?
  public var agent: String
  /// The site's interface at the site, the TAP device at the LinkManager; empty while there is none.
  public var interface: String
  public var state: EthernetLinkState
  /// Why there is no stream, or none any more.
  public var problem: String?
  public var framesToSite: UInt64 = 0
  public var framesToPC: UInt64 = 0
  /// Frames that were refused, by reason.
  public var refusedToSite: [String: UInt64] = [:]
  public var refusedToPC: [String: UInt64] = [:]
  /// Frames that the device didn't take, and those that the kernel had no room for.
  public var dropped: UInt64 = 0
  public var kernelDrops: UInt64 = 0
  /// Super-segments that crossed whole, at this end.
  public var superSegments: UInt64 = 0

  public init(agent: String, interface: String, state: EthernetLinkState) {
    self.agent = agent
    self.interface = interface
    self.state = state
  }

  /// Takes over what a filter has counted.
  public mutating func count(_ counters: EthernetCounters) {
    framesToSite = counters.passedToSite
    framesToPC = counters.passedToPC
    refusedToSite = counters.refusals(.toSite)
    refusedToPC = counters.refusals(.toPC)
  }
}

/// Lets each reason for a refusal be told now and then, and not for each frame.
package struct RefusalPace {
  private var next = [Instant](repeating: .zero, count: 2 * EthernetRefusal.allCases.count)

  static let interval = Interval.seconds(30)

  package init() {}

  package mutating func isDue(_ refusal: EthernetRefusal, _ direction: EthernetDirection, now: Instant) -> Bool {
    let index = Int(refusal.rawValue) * 2 + (direction == .toSite ? 0 : 1)
    guard now >= next[index] else { return false }
    next[index] = now + Self.interval
    return true
  }
}

extension EthernetRefusal {
  /// The reason with the frame that it met: for a log.
  package func text(of frame: Span<UInt8>, _ direction: EthernetDirection) -> String {
    let side = direction == .toSite ? "from the PC" : "from the site"
    guard let header = try? ParsedFrame(parsing: frame) else { return "\(self), \(side)" }
    let vlan = header.tagCount == 0 ? "" : ", VLAN \(header.outer)"
    return "\(self): \(header.type)\(vlan), \(header.source) to \(header.destination), \(side)"
  }
}
