public import Packet
public import Primitives

/// What a neighbour says of itself by LLDP (IEEE 802.1AB, clause 8).
public struct LLDPMessage: Equatable, Sendable {
  /// Type-length-values that are read.
  static let elementLimit = 64

  /// The device's own address: from the chassis identifier, or PROFINET's element for it.
  public private(set) var chassis: MACAddress?
  /// The chassis identifier where it is a text, as PROFINET's name of station (IEC 61158-6-10, annex on LLDP).
  public private(set) var chassisName: String?
  public private(set) var port = ""
  public private(set) var portDescription: String?
  public private(set) var systemName: String?
  public private(set) var systemDescription: String?
  public private(set) var managementAddress: IPAddress?
  /// There are elements of PROFINET.
  public private(set) var isProfinet = false

  /// PROFIBUS and PROFINET International.
  private static let profinetOUI: UInt32 = 0x000ECF

  /// Reads what follows an Ethernet header of type LLDP.
  public init(parsing bytes: Span<UInt8>) throws(DiscoveryParseError) {
    var offset = 0
    var count = 0
    while true {
      let header = try bytes.field16(offset)
      let type = header >> 9
      let value = bytes.extracting(try bytes.range(offset + 2, Int(header & 0x1FF)))
      offset += 2 + value.count
      // The first three are chassis, port and time to live, in this order (clause 8.2).
      if count < 3, type != count + 1 { throw .otherMessage }
      if type == 0 { return }
      try take(type, value)
      count += 1
      guard count < Self.elementLimit else { throw .tooMany }
      // The end may be left out where the frame ends (802.1AB-2016, clause 9.2.7.7.1).
      if offset == bytes.count, count >= 3 { return }
    }
  }

  private mutating func take(_ type: UInt16, _ value: Span<UInt8>) throws(DiscoveryParseError) {
    let limit = DiscoveredDevice.textLimit
    switch type {
    case 1:
      let subtype = try value.byte(0)
      let content = value.extracting(try value.range(1, value.count - 1))
      if subtype == 4 { chassis = try content.mac(0) }
      // Chassis component, interface alias or name, locally assigned.
      if [1, 2, 6, 7].contains(subtype) { chassisName = content.text(limit: StationName.sizeLimit) }
    case 2:
      let subtype = try value.byte(0)
      let content = value.extracting(try value.range(1, value.count - 1))
      port = subtype == 3 ? "\(try content.mac(0))" : content.text(limit: limit)
    case 3: _ = try value.field16(0)
    case 4: portDescription = value.text(limit: limit)
    case 5: systemName = value.text(limit: limit)
    case 6: systemDescription = value.text(limit: limit)
    case 8:
      let size = Int(try value.byte(0))
      guard size >= 2 else { throw .badLength(size) }
      let address = value.extracting(try value.range(2, size - 1))
      // IANA's address families: 1 is IPv4, 2 IPv6. The first one counts.
      guard value[1] == 1 && address.count == 4 || value[1] == 2 && address.count == 16 else { return }
      if managementAddress == nil { managementAddress = IPAddress(bytes: address) }
    case 127:
      guard try value.field16(0) == Self.profinetOUI >> 8, try value.byte(2) == UInt8(Self.profinetOUI & 0xFF) else {
        return
      }
      isProfinet = true
      // Where the chassis is a name, its address stands here.
      if try value.byte(3) == 5, chassis == nil { chassis = try value.mac(4) }
    default: break
    }
  }
}
