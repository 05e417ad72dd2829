public import Primitives

/// Numbers as people read them.
public enum Quantity {
  /// Bytes in binary multiples: `17 B`, `4.2 KiB`, `512 MiB`.
  public static func bytes(_ count: UInt64) -> String {
    scaled(Double(count), by: 1024, ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"])
  }

  /// Bits per second in decimal multiples: `940 Mbit/s`.
  public static func rate(bytes count: UInt64, in time: Interval) -> String {
    let bits = time.nanoseconds > 0 ? Double(count) * 8 / time.seconds : 0
    return scaled(bits, by: 1000, ["bit/s", "kbit/s", "Mbit/s", "Gbit/s", "Tbit/s"])
  }

  /// `42 s`, `12 min`, `3 h 20 min`, `5 d 2 h`.
  public static func age(seconds: Int64) -> String {
    let seconds = max(0, seconds)
    switch seconds {
    case ..<90: return "\(seconds) s"
    case ..<5400: return "\(seconds / 60) min"
    case ..<172_800: return "\(seconds / 3600) h \(seconds / 60 % 60) min"
    default: return "\(seconds / 86400) d \(seconds / 3600 % 24) h"
    }
  }

  private static func scaled(_ value: Double, by base: Double, _ units: [String]) -> String {
    var value = value
    var index = 0
    // 999.5 would be shown as 1000.
    while value >= base - 0.5, index < units.count - 1 {
      value /= base
      index += 1
    }
    let tenths = (value * 10).rounded()
    let isWhole = index == 0 || tenths >= 100
    return (isWhole ? "\(UInt64(value.rounded()))" : "\(tenths / 10)") + " " + units[index]
  }
}
