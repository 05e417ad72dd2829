internal import Framing
internal import Primitives
public import Proxy

/// One flow, as `status --flows` tells it.
public struct OpenFlowReport: Codable, Hashable, Sendable {
  /// Flows in an answer at most: what a person reads, and a program can ask for again.
  public static let limit = 2_000

  /// The same in the logs of both ends.
  public var id: String
  /// Known to the LinkManager.
  public var site: String?
  public var agent: String
  /// `tcp`, `udp`, `icmp`, `ethernet`, `discovery` or `capture`.
  public var `protocol`: String
  /// Who asked: known to the LinkManager.
  public var application: String?
  /// The agent's alias at the LinkManager, the device's own address at the SiteManager; `-` for what has none.
  public var destination: String
  /// `dialling`, `open`, `half-closed` or `closing`.
  public var state: String
  public var seconds: Double
  /// Payload, as far as it has come at this end.
  public var bytesFromDevice: UInt64
  public var bytesToDevice: UInt64
  /// Bytes that this end may send now; what the peer may have under way; of it what nobody took yet.
  public var sendCredit: Int
  public var window: Int
  public var held: Int
  /// Bytes that wait to be sealed, and that wait for the application or the device.
  public var queued: Int
  public var waiting: Int

  public init(_ flow: FlowStatus) {
    id = "\(flow.connection)"
    site = flow.site
    agent = flow.agent
    self.protocol = "\(flow.protocol)"
    application = flow.application.map { "\($0)" }
    destination = flow.destination.map { flow.protocol == .icmp ? "\($0.address)" : "\($0)" } ?? "-"
    state = "\(flow.state)"
    seconds = flow.age.seconds
    bytesFromDevice = flow.bytesFromDevice
    bytesToDevice = flow.bytesToDevice
    sendCredit = flow.stream?.sendCredit ?? 0
    window = flow.stream?.window ?? 0
    held = flow.stream?.held ?? 0
    queued = flow.stream?.queued ?? 0
    waiting = flow.waiting
  }

  /// For people.
  public static func table(_ flows: [OpenFlowReport]) -> Table {
    func bytes(_ count: some BinaryInteger) -> String { Quantity.bytes(UInt64(clamping: count)) }
    var table = Table(
      "FLOW", "AGENT", "PROTOCOL", "FROM", "TO", "STATE", "AGE", "FROM DEVICE", "TO DEVICE", "CREDIT", "WINDOW", "HELD",
      "QUEUED", "WAITING")
    for flow in flows {
      let isStream = !["udp", "icmp"].contains(flow.protocol)
      table.append(
        flow.id, flow.site.map { "\($0)/\(flow.agent)" } ?? flow.agent, flow.protocol, flow.application ?? "-",
        flow.destination, flow.state, Quantity.age(seconds: Int64(flow.seconds)), bytes(flow.bytesFromDevice),
        bytes(flow.bytesToDevice), isStream ? bytes(flow.sendCredit) : "-", isStream ? bytes(flow.window) : "-",
        isStream ? bytes(flow.held) : "-", bytes(flow.queued), bytes(flow.waiting))
    }
    return table
  }
}
