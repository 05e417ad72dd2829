public import Packet
public import Primitives

/// One search for the devices of a network, from its first frame to its time limit.
///
/// A core without I/O: frames and `now` go in, frames to send, devices and the next deadline come out. How fast it sends
/// is bounded, so that it neither floods a network of slow controllers nor looks like a storm.
public struct DiscoveryRun: Sendable {
  public struct Configuration: Sendable {
    public var methods: Set<DiscoveryMethod>
    /// The interface's own Ethernet address.
    public var mac: MACAddress
    /// The interface's IPv4 addresses, each with its network.
    public var addresses: [(address: IPAddress, network: IPPrefix)]
    /// Networks that are asked by ARP besides those of the interface, whether it belongs to them or not.
    public var ranges: [IPPrefix]
    /// The UDP port that answers come to, which nobody else on this host uses.
    public var port: UInt16
    /// How long it listens; 1 to 60 s.
    public var duration: Interval
    /// Between two frames.
    public var spacing = Interval.milliseconds(5)

    public init(
      methods: Set<DiscoveryMethod>, mac: MACAddress, addresses: [(address: IPAddress, network: IPPrefix)],
      ranges: [IPPrefix] = [], port: UInt16, duration: Interval
    ) {
      self.methods = methods
      self.mac = mac
      self.addresses = addresses.filter { $0.address.family == .v4 }
      self.ranges = ranges
      self.port = port
      self.duration = min(max(duration, .seconds(1)), .seconds(60))
    }
  }

  public let configuration: Configuration
  public private(set) var devices: DeviceTable
  private let xid: UInt32
  private let context: UInt64
  private let end: Instant
  /// When everybody is asked, with each method that asks all at once.
  private var rounds: [Instant]
  private var queue: [[UInt8]] = []
  private var sweep: AddressSweep
  private var dns = MulticastDNS()
  private var nextSlot: Instant
  private var queryID: UInt16
  public private(set) var isFinished = false
  public private(set) var framesSent = 0

  public init(_ configuration: Configuration, now: Instant, random: inout some RandomNumberGenerator) {
    self.configuration = configuration
    devices = DeviceTable(networks: configuration.addresses.map(\.network), own: configuration.mac)
    xid = UInt32.random(in: 1...UInt32.max, using: &random)
    context = UInt64.random(in: 0..<(1 << 48), using: &random)
    queryID = UInt16.random(in: 0...UInt16.max, using: &random)
    end = now + configuration.duration
    // A frame may be lost; the last question leaves half of the time for its answers.
    rounds = [now, now + configuration.duration / 4, now + configuration.duration / 2]
    nextSlot = now
    let sweeps = configuration.methods.contains(.arp)
    sweep = AddressSweep(
      sweeps ? configuration.addresses.map(\.network) + configuration.ranges : [],
      except: configuration.addresses.map(\.address))
  }

  /// Addresses that weren't asked for: beyond the bound, or for want of time.
  public var unasked: Int { sweep.omitted + sweep.remaining }

  // MARK: Verbs

  /// Takes a whole frame that the interface has received.
  ///
  /// - Parameter isChecked: its checksum was left to be computed, or was found right.
  public mutating func receive(_ frame: Span<UInt8>, isChecked: Bool = false, now: Instant) {
    guard !isFinished, let ethernet = try? EthernetHeader(parsing: frame), ethernet.source != configuration.mac else {
      return
    }
    let payload = frame.extracting(ethernet.headerLength..<frame.count)
    let methods = configuration.methods
    switch ethernet.type {
    case .profinet where methods.contains(.dcp):
      guard let message = try? DCPMessage(parsing: payload),
        message.service == .hello || message.service == .identify && message.direction == .success && message.xid == xid
      else { return }
      devices.take(message, from: ethernet.source)
    case .arp where methods.contains(.arp):
      if let message = try? ARPMessage(parsing: payload) { devices.take(message) }
    case .lldp where methods.contains(.lldp):
      if let message = try? LLDPMessage(parsing: payload) { devices.take(message, from: ethernet.source) }
    case .ipv4 where methods.contains(where: \.needsAddress):
      if let datagram = try? UDPFrame(parsing: frame, isChecked: isChecked) {
        receive(datagram, frame.extracting(datagram.payload))
      }
    default: break
    }
  }

  private mutating func receive(_ datagram: UDPFrame, _ payload: Span<UInt8>) {
    let isAnswer = datagram.to.port == configuration.port
    let address = datagram.from.address
    switch datagram.from.port {
    case CIPIdentity.port where isAnswer && configuration.methods.contains(.enip):
      guard let identity = try? CIPIdentity(parsing: payload) else { return }
      devices.take(identity, from: datagram.source, at: address)
    case DNSMessage.port where configuration.methods.contains(.mdns):
      guard let message = try? DNSMessage(parsing: payload), let finding = dns.take(message) else { return }
      devices.take(finding, from: datagram.source, at: address)
    default:
      // Answers to a search come from a port of the device's choice, announcements go to the group's.
      guard configuration.methods.contains(.ssdp),
        isAnswer || datagram.to == Endpoint(SSDPMessage.group, SSDPMessage.port),
        let message = try? SSDPMessage(parsing: payload)
      else { return }
      devices.take(message, from: datagram.source, at: address)
    }
  }

  /// When `handleTimeout` or `nextTransmit` has something to do; `nil` once it is over.
  public var nextDeadline: Instant? {
    guard !isFinished else { return nil }
    let sends = hasOutput ? nextSlot : nil
    return Instant.earliest(Instant.earliest(end, rounds.first), sends)
  }

  private var hasOutput: Bool { !queue.isEmpty || sweep.remaining > 0 || !dns.questions.isEmpty && asksDNS }

  private var asksDNS: Bool { configuration.methods.contains(.mdns) && own != nil }

  public mutating func handleTimeout(now: Instant) {
    if now >= end { isFinished = true }
    while let round = rounds.first, now >= round {
      rounds.removeFirst()
      askAll(isFirst: framesSent == 0)
    }
  }

  /// The next frame to send, if its time has come.
  public mutating func nextTransmit(now: Instant) -> [UInt8]? {
    guard !isFinished, now >= nextSlot, let frame = nextFrame() else { return nil }
    nextSlot = now + configuration.spacing
    framesSent += 1
    return frame
  }

  // MARK: Questions

  private var own: IPAddress? { configuration.addresses.first?.address }

  private mutating func askAll(isFirst: Bool) {
    let methods = configuration.methods
    if methods.contains(.dcp) {
      // Answers spread over a quarter of the time: a large network would answer all at once.
      let steps = UInt16(clamping: configuration.duration.milliseconds / 40)
      queue.append(DCPRequest.identifyAll(from: configuration.mac, xid: xid, delay: steps))
    }
    if methods.contains(.mdns), !isFirst { dns.askAgain() }
    guard let own else { return }
    let source = Endpoint(own, configuration.port)
    if methods.contains(.enip) {
      let delay = UInt16(clamping: configuration.duration.milliseconds / 4)
      queue.append(
        UDPFrame.bytes(
          to: Endpoint(IPAddress(255, 255, 255, 255), CIPIdentity.port), from: source, configuration.mac,
          payload: CIPIdentity.request(delay: delay, context: context)))
    }
    if methods.contains(.ssdp) {
      let seconds = Int(configuration.duration.milliseconds / 4000)
      queue.append(
        UDPFrame.bytes(
          to: Endpoint(SSDPMessage.group, SSDPMessage.port), from: source, configuration.mac, hops: 2,
          payload: SSDPMessage.search(seconds: seconds)))
    }
  }

  private mutating func nextFrame() -> [UInt8]? {
    if !queue.isEmpty { return queue.removeFirst() }
    if asksDNS, let own, let question = dns.nextQuestion() {
      queryID &+= 1
      // RFC 6762 section 11: what isn't sent with 255 hops might be from elsewhere.
      return UDPFrame.bytes(
        to: Endpoint(DNSMessage.group, DNSMessage.port), from: Endpoint(own, configuration.port), configuration.mac,
        hops: 255, payload: DNSMessage.query(question.name, question.types, id: queryID))
    }
    guard let target = sweep.next() else { return nil }
    let sender = configuration.addresses.first { $0.network.contains(target) }?.address
    return ARPMessage.request(for: target, from: configuration.mac, senderAddress: sender ?? IPAddress(v4: 0))
  }

  /// The next device that is new, or of which more is known.
  public mutating func nextDevice() -> DiscoveredDevice? {
    devices.nextChange()
  }
}
