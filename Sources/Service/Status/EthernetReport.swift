public import Proxy

/// A Layer 2 connection in a status, at either end.
public struct EthernetReport: Codable, Sendable {
  /// `SITE/AGENT` at the LinkManager, the agent at the site.
  public var agent: String
  /// The TAP device at the LinkManager, the interface at the site; empty while there is none.
  public var device: String
  /// The site's interface: `up`, or what it is instead.
  public var state: String
  public var problem: String?
  public var mtu: Int
  public var framesToSite: UInt64
  public var framesToPC: UInt64
  /// Frames that were refused, by reason.
  public var refusedToSite: [String: UInt64]
  public var refusedToPC: [String: UInt64]
  /// Frames that the device didn't take, and those that the kernel had no room for.
  public var dropped: UInt64
  public var kernelDrops: UInt64
  public var superSegments: UInt64

  public init(_ status: EthernetStatus) {
    agent = status.site.map { "\($0)/\(status.agent)" } ?? status.agent
    device = status.interface
    state = "\(status.state)"
    problem = status.problem
    mtu = status.state.mtu
    framesToSite = status.framesToSite
    framesToPC = status.framesToPC
    refusedToSite = status.refusedToSite
    refusedToPC = status.refusedToPC
    dropped = status.dropped
    kernelDrops = status.kernelDrops
    superSegments = status.superSegments
  }

  /// For people: a line, and one for each reason.
  public var text: String {
    var text = "ethernet \(agent)\(device.isEmpty ? "" : " on \(device)"): "
    text += problem.map { "nothing passes, \($0.escaped)" } ?? state
    text += ", frames \(framesToSite) to the site, \(framesToPC) to the PC, dropped \(dropped + kernelDrops)\n"
    for (reason, count) in refusedToSite.sorted(by: { $0.key < $1.key }) {
      text += "  refused from the PC: \(reason): \(count)\n"
    }
    for (reason, count) in refusedToPC.sorted(by: { $0.key < $1.key }) {
      text += "  refused from the site: \(reason): \(count)\n"
    }
    return text
  }
}
