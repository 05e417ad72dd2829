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

  /// The same for an interval.
  public static func age(_ time: Interval) -> String {
    age(seconds: time.nanoseconds / 1_000_000_000)
  }

  /// Seconds with two digits behind the point where there are any: `2 s`, `0.25 s`.
  public static func seconds(_ value: Double) -> String {
    let hundredths = (value * 100).rounded()
    return (hundredths == (value.rounded() * 100) ? "\(Int64(value.rounded()))" : "\(hundredths / 100)") + " s"
  }

  /// A time that a line or a device takes: `850 µs`, `12 ms`, `1.4 s`.
  public static func delay(microseconds: Int64) -> String {
    switch microseconds {
    case ..<10_000: "\(microseconds) µs"
    case ..<1_000_000: "\(microseconds / 1000) ms"
    default: "\(Double(microseconds / 100_000) / 10) s"
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
