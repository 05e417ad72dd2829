/// What goes over a discovery stream: questions of the LinkManager, answers of the site.
///
/// On the wire as on the control connection: the size of what follows in 4 bytes, then one JSON object whose `type` names
/// the message. One question at a time; fields that aren't known are passed over.
public enum DiscoveryMessage: Hashable, Sendable {
  /// Bytes of a message's JSON text.
  public static let sizeLimit = 64 * 1024
  /// Networks that a search may name, and seconds that it may last.
  public static let rangeLimit = 16
  public static let secondsLimit = 60

  case discover(Discover)
  case assign(Assign)
  /// A device that was found, or of which more is known now.
  case device(Device)
  /// The search is over.
  case done(Done)
  /// The device has taken what it was given.
  case assigned
  case failure(ControlMessage.Failure)
  /// A type that a later version has added.
  case unknown(String)

  public struct Discover: Hashable, Sendable, Codable {
    /// Of `InterfaceAccess.methods`; `nil` for all that the agent offers.
    public var methods: [String]?
    /// 1 to 60.
    public var seconds: Int
    /// Networks, as `10.0.0.0/24`, that are asked by ARP besides the interface's own.
    public var ranges: [String]?

    public init(methods: [String]? = nil, seconds: Int, ranges: [String]? = nil) {
      self.methods = methods
      self.seconds = seconds
      self.ranges = ranges
    }
  }

  public struct Assign: Hashable, Sendable, Codable {
    /// Of the device.
    public var mac: String
    /// A PROFINET name of station; either this or `address`.
    public var name: String?
    /// With its network, as `192.168.10.20/24`.
    public var address: String?
    public var gateway: String?
    /// It outlives the device's next start.
    public var permanent: Bool

    public init(mac: String, name: String? = nil, address: String? = nil, gateway: String? = nil, permanent: Bool) {
      self.mac = mac
      self.name = name
      self.address = address
      self.gateway = gateway
      self.permanent = permanent
    }
  }

  public struct Device: Hashable, Sendable, Codable {
    public var mac: String
    public var name: String?
    public var vendor: String?
    public var kind: String?
    public var addresses: [String]
    /// Of its IPv4 address, by its own account.
    public var mask: String?
    public var gateway: String?
    /// Where it says that its description is.
    public var location: String?
    /// How it was found.
    public var methods: [String]
    /// `noAddress`, `foreignSubnet`, `addressConflict`, or what a later version adds.
    public var problems: [String]

    public init(
      mac: String, name: String? = nil, vendor: String? = nil, kind: String? = nil, addresses: [String] = [],
      mask: String? = nil, gateway: String? = nil, location: String? = nil, methods: [String] = [],
      problems: [String] = []
    ) {
      self.mac = mac
      self.name = name
      self.vendor = vendor
      self.kind = kind
      self.addresses = addresses
      self.mask = mask
      self.gateway = gateway
      self.location = location
      self.methods = methods
      self.problems = problems
    }
  }

  public struct Done: Hashable, Sendable, Codable {
    public var devices: Int
    /// Addresses for which there was no time, or that are beyond the bound.
    public var unasked: Int
    /// What kept a method from being used, for people.
    public var remarks: [String]

    public init(devices: Int, unasked: Int, remarks: [String] = []) {
      self.devices = devices
      self.unasked = unasked
      self.remarks = remarks
    }
  }

  /// The bytes on the wire. Throws `.tooLong` if the message is beyond the limit.
  public func encoded() throws(ControlError) -> [UInt8] {
    let text: [UInt8]
    do throws(JSONError) {
      text = try JSON.encode(self)
    } catch {
      throw .malformed(field: error.field, reason: error.reason)
    }
    guard text.count <= Self.sizeLimit else { throw .tooLong(text.count) }
    return [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: text.count >> $0) } + text
  }
}

extension DiscoveryMessage: Codable {
  private enum CodingKeys: String, CodingKey { case type }

  private var type: String {
    switch self {
    case .discover: "discover"
    case .assign: "assign"
    case .device: "device"
    case .done: "done"
    case .assigned: "assigned"
    case .failure: "failure"
    case .unknown(let type): type
    }
  }

  public init(from decoder: any Decoder) throws {
    let container = try decoder.container(keyedBy: CodingKeys.self)
    self =
      switch try container.decode(String.self, forKey: .type) {
      case "discover": .discover(try Discover(from: decoder))
      case "assign": .assign(try Assign(from: decoder))
      case "device": .device(try Device(from: decoder))
      case "done": .done(try Done(from: decoder))
      case "assigned": .assigned
      case "failure": .failure(try ControlMessage.Failure(from: decoder))
      case let type: .unknown(type)
      }
  }

  public func encode(to encoder: any Encoder) throws {
    var container = encoder.container(keyedBy: CodingKeys.self)
    try container.encode(type, forKey: .type)
    switch self {
    case .discover(let body): try body.encode(to: encoder)
    case .assign(let body): try body.encode(to: encoder)
    case .device(let body): try body.encode(to: encoder)
    case .done(let body): try body.encode(to: encoder)
    case .failure(let body): try body.encode(to: encoder)
    case .assigned, .unknown: break
    }
  }
}

/// Finds discovery messages in a stream of bytes, however it is split. Holds one unfinished message and what came with
/// its end.
public struct DiscoveryDecoder: Sendable {
  private var buffer: [UInt8] = []

  public init() {}

  /// Bytes of an unfinished message.
  public var buffered: Int { buffer.count }

  public mutating func receive(_ bytes: some Collection<UInt8>) {
    buffer += bytes
  }

  /// The next message; `nil` until more bytes have come.
  ///
  /// - Throws: `.tooLong` for a message beyond the limit, from its size on: the stream can't go on. `.malformed` for one
  ///   that can't be understood, which is skipped.
  public mutating func next() throws(ControlError) -> DiscoveryMessage? {
    guard buffer.count >= 4 else { return nil }
    let size = buffer[..<4].reduce(0) { $0 << 8 | Int($1) }
    guard size <= DiscoveryMessage.sizeLimit else { throw .tooLong(size) }
    guard buffer.count >= 4 + size else { return nil }
    let text = Array(buffer[4..<(4 + size)])
    buffer.removeFirst(4 + size)
    do throws(JSONError) {
      return try JSON.decode(DiscoveryMessage.self, from: text)
    } catch {
      throw .malformed(field: error.field, reason: error.reason)
    }
  }
}
