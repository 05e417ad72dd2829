public import Packet
public import Primitives

/// Gives a PROFINET device its name or its address, and hears whether it took it. A core without I/O.
public struct DCPAssignment: Sendable {
  public enum Value: Hashable, Sendable {
    case name(StationName)
    case address(IPv4Assignment)
  }

  public enum Outcome: Hashable, Sendable {
    case done
    /// It said nothing: it isn't there, or speaks no DCP.
    case noAnswer
    /// It doesn't know the service.
    case unsupported
    /// It said no, with the error of IEC 61158-6-10, clause 4.3.1.4.18.
    case refused(UInt8)
  }

  /// How often it is asked, and how long each time: a device writes to its flash before it answers.
  static let attempts = 3
  static let patience = Interval.seconds(2)

  private let request: [UInt8]
  private let device: MACAddress
  private let own: MACAddress
  private let xid: UInt32
  private let option: (UInt8, UInt8)
  private var sent = 0
  private var deadline: Instant
  private var isDue = true
  public private(set) var outcome: Outcome?

  public init(
    _ value: Value, permanent: Bool, of device: MACAddress, from own: MACAddress, now: Instant,
    random: inout some RandomNumberGenerator
  ) {
    self.device = device
    self.own = own
    xid = UInt32.random(in: 1...UInt32.max, using: &random)
    deadline = now
    switch value {
    case .name(let name):
      request = DCPRequest.set(name: name, permanent: permanent, of: device, from: own, xid: xid)
      option = (2, 2)
    case .address(let assignment):
      request = DCPRequest.set(assignment, permanent: permanent, of: device, from: own, xid: xid)
      option = (1, 2)
    }
  }

  public mutating func receive(_ frame: Span<UInt8>) {
    guard outcome == nil, let ethernet = try? EthernetHeader(parsing: frame), ethernet.source == device,
      ethernet.destination == own, ethernet.type == .profinet,
      let message = try? DCPMessage(parsing: frame.extracting(ethernet.headerLength..<frame.count)),
      message.service == .set, message.direction != .request, message.xid == xid
    else { return }
    for case .result(let option, let suboption, let error) in message.blocks
    where (option, suboption) == self.option {
      outcome = error == 0 ? .done : .refused(error)
      return
    }
    if message.direction == .unsupported { outcome = .unsupported }
  }

  public var nextDeadline: Instant? { outcome == nil ? deadline : nil }

  public mutating func handleTimeout(now: Instant) {
    guard outcome == nil, !isDue, now >= deadline else { return }
    if sent >= Self.attempts { outcome = .noAnswer } else { isDue = true }
  }

  public mutating func nextTransmit(now: Instant) -> [UInt8]? {
    guard outcome == nil, isDue else { return nil }
    isDue = false
    sent += 1
    deadline = now + Self.patience
    return request
  }
}

extension DCPAssignment.Outcome: CustomStringConvertible {
  public var description: String {
    switch self {
    case .done: "done"
    case .noAnswer: "the device doesn't answer"
    case .unsupported: "the device doesn't know the request"
    case .refused(1): "the device doesn't know the option"
    case .refused(2): "the device doesn't know the suboption"
    case .refused(3): "the device hasn't set it"
    case .refused(4): "the device lacks resources"
    case .refused(5): "the device doesn't permit it on site"
    case .refused(6): "the device is in operation and can't be changed now"
    case .refused(let error): "the device refused with error \(error)"
    }
  }
}
