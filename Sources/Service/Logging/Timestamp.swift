/// UTC times in the form of RFC 3339.
public enum Timestamp {
  /// `2026-01-31T23:59:59.123Z`.
  public static func text(unixNanoseconds: Int64) -> String {
    let milliseconds = unixNanoseconds.dividedFloor(by: 1_000_000)
    let fraction = milliseconds.remainderFloor(by: 1000)
    return seconds(milliseconds.dividedFloor(by: 1000)) + "." + padded(fraction, 3) + "Z"
  }

  /// `2026-01-31T23:59:59Z`.
  public static func text(unixSeconds: Int64) -> String {
    seconds(unixSeconds) + "Z"
  }

  private static func seconds(_ unix: Int64) -> String {
    let day = unix.dividedFloor(by: 86400)
    let time = unix.remainderFloor(by: 86400)
    let date = civil(day)
    return "\(padded(date.year, 4))-\(padded(date.month, 2))-\(padded(date.day, 2))"
      + "T\(padded(time / 3600, 2)):\(padded(time / 60 % 60, 2)):\(padded(time % 60, 2))"
  }

  /// The proleptic Gregorian date of a day counted from 1970-01-01. Years are taken to begin in March, so that
  /// the leap day is the last of a year; 146097 days make 400 years.
  private static func civil(_ day: Int64) -> (year: Int64, month: Int64, day: Int64) {
    let shifted = day &+ 719_468
    let era = shifted.dividedFloor(by: 146_097)
    let dayOfEra = shifted &- era &* 146_097
    let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36524 - dayOfEra / 146_096) / 365
    let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
    let index = (5 * dayOfYear + 2) / 153
    let month = index < 10 ? index + 3 : index - 9
    return (yearOfEra + era &* 400 + (month <= 2 ? 1 : 0), month, dayOfYear - (153 * index + 2) / 5 + 1)
  }

  private static func padded(_ value: Int64, _ width: Int) -> String {
    let text = String(value)
    return String(repeating: "0", count: max(0, width - text.utf8.count)) + text
  }
}

extension Int64 {
  fileprivate func dividedFloor(by divisor: Int64) -> Int64 {
    let quotient = self / divisor
    return self % divisor < 0 ? quotient - 1 : quotient
  }

  fileprivate func remainderFloor(by divisor: Int64) -> Int64 {
    self - dividedFloor(by: divisor) * divisor
  }
}
