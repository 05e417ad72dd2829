import Control
import Discovery
import Kernel
import Logging
import Packet
import Primitives
import Proxy
import Tun

/// One discovery stream at the site: questions in, answers out, one after the other.
struct DiscoveryConversation: ~Copyable {
  /// Seconds without a question, or without a byte taken, after which it ends.
  static let patience = 60

  private let socket: OwnedDescriptor
  private let agent: String
  private let log: Logger
  private let current: @Sendable () -> SiteInterface?
  private let assigned: @Sendable (String) -> Void
  /// As it is while a question is answered.
  private var interface = SiteInterface("", InterfaceAccess())
  private var decoder = DiscoveryDecoder()
  private var random = SystemRandomNumberGenerator()

  init(
    socket: consuming OwnedDescriptor, agent: String, log: Logger, current: @escaping @Sendable () -> SiteInterface?,
    assigned: @escaping @Sendable (String) -> Void
  ) {
    self.socket = socket
    self.agent = agent
    self.log = log
    self.current = current
    self.assigned = assigned
  }

  /// Until the stream ends, is cut, or nobody asks.
  mutating func run() {
    do {
      try UnixSocket.setBlocking(socket, timeoutSeconds: Self.patience)
      while let message = try nextMessage() {
        guard let interface = current() else { return }
        self.interface = interface
        do throws(ControlMessage.Failure) {
          switch message {
          case .discover(let wanted): try discover(wanted)
          case .assign(let wanted): try assign(wanted)
          case .device, .done, .assigned, .failure, .unknown:
            throw ControlMessage.Failure(.malformed, "not a question that this site knows")
          }
        } catch {
          log.notice("discovery refused", metadata: ["code": "\(error.code)", "reason": "\(error.message)"])
          try send(.failure(error))
        }
      }
    } catch let error as ControlError {
      try? send(.failure(ControlMessage.Failure(.malformed, "\(error)")))
    } catch {
      // Cut, or nobody reads: whoever was there is gone.
    }
  }

  private mutating func nextMessage() throws -> DiscoveryMessage? {
    var chunk = [UInt8](repeating: 0, count: 4096)
    while true {
      if let message = try decoder.next() { return message }
      var span = chunk.mutableSpan
      guard case .moved(let count) = try socket.read(into: &span) else { return nil }
      decoder.receive(chunk[..<count])
    }
  }

  private func send(_ message: DiscoveryMessage) throws {
    try socket.writeAll(try message.encoded())
  }

  // MARK: Searching

  private mutating func discover(_ wanted: DiscoveryMessage.Discover) throws(ControlMessage.Failure) {
    let methods = try methods(wanted.methods)
    let ranges = try Self.ranges(wanted.ranges ?? [])
    guard (1...DiscoveryMessage.secondsLimit).contains(wanted.seconds) else {
      throw ControlMessage.Failure(.malformed, "a search takes 1 to \(DiscoveryMessage.secondsLimit) seconds")
    }
    var port = try DevicePort(interface.name, for: methods)
    var run = DiscoveryRun(
      DiscoveryRun.Configuration(
        methods: methods, mac: port.mac, addresses: port.addresses, ranges: ranges, port: port.number,
        duration: .seconds(Int64(wanted.seconds))), now: Clock.now, random: &random)
    log.info(
      "search for devices",
      metadata: [
        "interface": "\(interface.name)", "methods": "\(methods.map(\.rawValue).sorted().joined(separator: " "))",
      ])
    do {
      while let deadline = run.nextDeadline {
        try port.wait(until: deadline, besides: socket)
        let now = Clock.now
        try port.readFrames { frame, isChecked in run.receive(frame, isChecked: isChecked, now: now) }
        run.handleTimeout(now: now)
        while let frame = run.nextTransmit(now: now) { try port.send(frame) }
        while let device = run.nextDevice() { try send(.device(DiscoveryMessage.Device(device))) }
      }
      var done = DiscoveryMessage.Done(devices: run.devices.count, unasked: run.unasked)
      done.remarks = remarks(run, port.addresses.isEmpty)
      try send(.done(done))
      log.info("search for devices ended", metadata: ["devices": "\(done.devices)", "frames": "\(run.framesSent)"])
    } catch {
      throw Self.failure(error)
    }
  }

  private func methods(_ wanted: [String]?) throws(ControlMessage.Failure) -> Set<DiscoveryMethod> {
    let offered = interface.access.discovery
    guard !offered.isEmpty else {
      throw ControlMessage.Failure(
        .notPermitted, "agent \(agent) doesn't permit to search for devices: no `discovery:`")
    }
    if let refused = (wanted ?? []).first(where: { !offered.contains($0) }) {
      throw ControlMessage.Failure(
        .notPermitted,
        "agent \(agent) doesn't permit \(refused): its `discovery:` is \(offered.joined(separator: ", "))")
    }
    let methods = Set((wanted ?? offered).compactMap(DiscoveryMethod.init))
    guard !methods.isEmpty else { throw ControlMessage.Failure(.malformed, "no way to search is named") }
    return methods
  }

  private static func ranges(_ texts: [String]) throws(ControlMessage.Failure) -> [IPPrefix] {
    guard texts.count <= DiscoveryMessage.rangeLimit else {
      throw ControlMessage.Failure(.malformed, "\(DiscoveryMessage.rangeLimit) networks are the most")
    }
    var ranges: [IPPrefix] = []
    for text in texts {
      guard let range = IPPrefix(text), range.address.family == .v4 else {
        throw ControlMessage.Failure(.malformed, "a range isn't an IPv4 network")
      }
      ranges.append(range)
    }
    return ranges
  }

  private func remarks(_ run: borrowing DiscoveryRun, _ isWithoutAddress: Bool) -> [String] {
    var remarks: [String] = []
    let hindered = run.configuration.methods.filter(\.needsAddress).map(\.rawValue).sorted()
    if isWithoutAddress, !hindered.isEmpty {
      remarks.append(
        "\(interface.name) has no IPv4 address: nothing was asked by \(hindered.joined(separator: ", "))")
    }
    if run.unasked > 0 {
      remarks.append("\(run.unasked) addresses weren't asked by arp: take more seconds or smaller networks")
    }
    if run.devices.overflow > 0 { remarks.append("there are more than \(DeviceTable.limit) devices") }
    return remarks
  }

  // MARK: Assigning

  private mutating func assign(_ wanted: DiscoveryMessage.Assign) throws(ControlMessage.Failure) {
    guard interface.access.assignment else {
      throw ControlMessage.Failure(
        .notPermitted, "agent \(agent) doesn't permit to give devices names or addresses: no `assignment: true`")
    }
    let (mac, value) = try Self.value(wanted)
    var port = try DevicePort(interface.name, for: [.dcp])
    var assignment = DCPAssignment(
      value, permanent: wanted.permanent, of: mac, from: port.mac, now: Clock.now, random: &random)
    log.notice(
      "assignment to a device",
      metadata: [
        "device": "\(mac)", "name": "\(wanted.name ?? "")", "address": "\(wanted.address ?? "")",
        "gateway": "\(wanted.gateway ?? "")", "permanent": "\(wanted.permanent)",
      ])
    do {
      while let deadline = assignment.nextDeadline {
        try port.wait(until: deadline, besides: socket)
        try port.readFrames { frame, _ in assignment.receive(frame) }
        let now = Clock.now
        assignment.handleTimeout(now: now)
        if let frame = assignment.nextTransmit(now: now) { try port.send(frame) }
      }
      let outcome = assignment.outcome ?? .noAnswer
      log.notice("assignment ended", metadata: ["device": "\(mac)", "outcome": "\(outcome)"])
      assigned("\(mac) was to get \(wanted.name ?? wanted.address ?? ""): \(outcome)")
      switch outcome {
      case .done: try send(.assigned)
      case .noAnswer: throw ControlMessage.Failure(.other("noAnswer"), "\(mac): \(outcome)")
      case .refused, .unsupported: throw ControlMessage.Failure(.other("deviceRefused"), "\(mac): \(outcome)")
      }
    } catch {
      throw Self.failure(error)
    }
  }

  private static func value(
    _ wanted: DiscoveryMessage.Assign
  ) throws(ControlMessage.Failure) -> (MACAddress, DCPAssignment.Value) {
    guard let mac = MACAddress(wanted.mac), !mac.isMulticast, mac.value != 0 else {
      throw ControlMessage.Failure(.malformed, "the device's address isn't that of a device")
    }
    switch (wanted.name, wanted.address) {
    case (let text?, nil):
      guard let name = StationName(text) else {
        throw ControlMessage.Failure(
          .malformed,
          "a name of station has labels of 1 to 63 letters a to z, digits and hyphens, by dots, and isn't an address")
      }
      return (mac, .name(name))
    case (nil, let text?):
      let parts = text.split(separator: "/").map(String.init)
      let gateway = wanted.gateway.map { IPAddress($0) }
      guard parts.count == 2, let address = IPAddress(parts[0]), let length = Int(parts[1]),
        gateway == nil || gateway.flatMap({ $0 }) != nil,
        let assignment = IPv4Assignment(address, prefixLength: length, gateway: gateway.flatMap { $0 })
      else {
        throw ControlMessage.Failure(
          .malformed,
          "an address is a host's with its network, as 192.168.10.20/24, and a gateway is another host of that network")
      }
      return (mac, .address(assignment))
    default: throw ControlMessage.Failure(.malformed, "either a name or an address is given")
    }
  }

  private static func failure(_ error: any Error) -> ControlMessage.Failure {
    switch error {
    case let failure as ControlMessage.Failure: failure
    case let error as TunError: DevicePort.failure(error)
    default: ControlMessage.Failure(.internalError, "\(error)")
    }
  }
}

extension DiscoveryMessage.Device {
  init(_ device: DiscoveredDevice) {
    self.init(
      mac: "\(device.mac)", name: device.name, vendor: device.vendor, kind: device.type,
      addresses: device.addresses.map(\.description), mask: device.mask.map(\.description),
      gateway: device.gateway.map(\.description), location: device.location,
      methods: DiscoveryMethod.allCases.filter(device.methods.contains).map(\.rawValue),
      problems: DiscoveredDevice.Problem.allCases.filter(device.problems.contains).map(\.rawValue))
  }
}
