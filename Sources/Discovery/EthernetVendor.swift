public import Packet

/// Who makes a device, by the first three bytes of its address: makers that are met in plants.
public enum EthernetVendor {
  /// `nil` if it isn't known, or the address was given by a program.
  public static func name(of mac: MACAddress) -> String? {
    mac.isLocallyAdministered || mac.isMulticast ? nil : makers[UInt32(truncatingIfNeeded: mac.value >> 24)]
  }

  private static let makers: [UInt32: String] = {
    var makers: [UInt32: String] = [:]
    for (name, prefixes) in list {
      for prefix in prefixes { makers[prefix] = name }
    }
    return makers
  }()

  private static let list: [(String, [UInt32])] = [
    ("ABB", [0x001C01, 0x002459]),
    ("Advantech", [0x000BAB, 0x00D0C9]),
    ("Axis", [0x00408C, 0xACCC8E]),
    ("B&R", [0x006065]),
    ("Balluff", [0x001931]),
    ("Baumer", [0x0006BE, 0x9CC950]),
    ("Beckhoff", [0x000105]),
    ("Bihl+Wiedemann", [0x001677]),
    ("Bosch Rexroth", [0x000B0F]),
    ("Cognex", [0x00D024]),
    ("Danfoss", [0x001B08]),
    ("Delta Electronics", [0x001823]),
    ("Endress+Hauser", [0x000705]),
    ("FANUC", [0x00E0E4]),
    ("Festo", [0x000EF0]),
    ("Hilscher", [0x0002A2]),
    ("Hirschmann", [0x008063, 0xECE555, 0x646038, 0x740BB0, 0xA0B086, 0xEC74BA]),
    ("HMS", [0x003011]),
    ("ifm", [0x000201]),
    ("Keyence", [0x0001FC]),
    ("Kollmorgen", [0x00021B, 0x0010DA, 0x00231B]),
    ("Lenze", [0x000A86]),
    ("Leuze", [0x00157B]),
    ("Mitsubishi Electric", [0x002692]),
    ("Moxa", [0x0090E8]),
    ("Murrelektronik", [0x000F9E, 0x4CEB76]),
    ("National Instruments", [0x00802F]),
    ("Omron", [0x00000A]),
    ("Panasonic", [0x00C08F]),
    ("Pepperl+Fuchs", [0x000D81]),
    ("Phoenix Contact", [0x00A045, 0xA8741D, 0xCCCCEA]),
    ("Pilz", [0x000248]),
    ("PROFIBUS International", [0x000ECF]),
    ("Raspberry Pi", [0xB827EB, 0xDCA632]),
    ("Red Lion", [0x0005E4]),
    ("Rockwell Automation", [0x0000BC, 0x001D9C, 0x5C8816, 0xE49069, 0xF45433, 0x34C0F9]),
    ("Schneider Electric", [0x000054, 0x001100, 0x0080F4]),
    ("SEW-Eurodrive", [0x000F69]),
    ("SICK", [0x000677]),
    ("Siemens", [0x000E8C, 0x001B1B, 0x001C06, 0x286336, 0x208756, 0x8CF319, 0xAC6417, 0xE0DCA0, 0xEC1C5D]),
    ("Turck", [0x000746]),
    ("WAGO", [0x0030DE]),
    ("Weidmüller", [0x00157E]),
    ("Westermo", [0x00077C]),
    ("Yaskawa", [0x0020B5]),
  ]
}

extension CIPIdentity {
  /// Who makes it, by its number at ODVA.
  public var vendorName: String? {
    switch vendor {
    case 1: "Rockwell Automation"
    case 7: "SMC"
    case 26: "Festo"
    case 40: "WAGO"
    case 43: "Balluff"
    case 44: "Yaskawa"
    case 46, 75, 593: "ABB"
    case 47: "Omron"
    case 48, 256: "Turck"
    case 57: "Pepperl+Fuchs"
    case 90: "HMS"
    case 97: "Danfoss"
    case 108: "Beckhoff"
    case 121: "KUKA"
    case 145, 796: "Siemens"
    case 161: "Mitsubishi Electric"
    case 243: "Schneider Electric"
    case 255, 287: "Bosch Rexroth"
    case 283: "Hilscher"
    case 315: "SEW-Eurodrive"
    case 322: "ifm"
    case 345, 1182: "Endress+Hauser"
    case 367: "Keyence"
    case 445: "Lenze"
    case 562: "Phoenix Contact"
    case 591: "FANUC"
    case 634: "Hirschmann"
    case 640: "Murrelektronik"
    case 678: "Cognex"
    case 808: "SICK"
    case 887: "B&R"
    case 991: "Moxa"
    case 1015: "Weidmüller"
    default: nil
    }
  }

  /// What kind of device it is, by its profile (CIP volume 1, chapter 6).
  public var deviceTypeName: String {
    switch deviceType {
    case 0x02: "AC drive"
    case 0x03: "motor overload"
    case 0x07: "general purpose discrete I/O"
    case 0x0C: "communications adapter"
    case 0x0E: "programmable logic controller"
    case 0x10: "position controller"
    case 0x13: "DC drive"
    case 0x15: "contactor"
    case 0x18: "human-machine interface"
    case 0x1B: "pneumatic valve"
    case 0x22: "encoder"
    case 0x23: "safety discrete I/O"
    case 0x25: "CIP motion drive"
    case 0x2B: "generic device"
    case 0x2C: "managed switch"
    default: "device type \(deviceType)"
    }
  }
}
