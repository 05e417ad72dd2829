/// A time zone: which offset from UTC its clocks have when. Read from a TZif file (RFC 8536).
public struct ZoneRules: Hashable, Sendable {
  /// When they change, in seconds since 1970, rising; and what to, in seconds east of Greenwich.
  private let times: [Int64]
  private let offsets: [Int64]
  /// Before the first change.
  private let first: Int64
  /// After the last one.
  private let later: RecurringZone?

  /// Coordinated universal time.
  public static let utc = ZoneRules(times: [], offsets: [], first: 0, later: nil)

  private init(times: [Int64], offsets: [Int64], first: Int64, later: RecurringZone?) {
    self.times = times
    self.offsets = offsets
    self.first = first
    self.later = later
  }

  /// The offset from UTC at a time, in seconds, and when another one comes, in seconds since 1970; `nil` for never.
  public func offset(at time: Int64) -> (offset: Int64, until: Int64?) {
    var (low, high) = (0, times.count)
    while low < high {
      let middle = (low + high) / 2
      if times[middle] <= time { low = middle + 1 } else { high = middle }
    }
    if low < times.count { return (low == 0 ? first : offsets[low - 1], times[low]) }
    if let later { return later.offset(at: time) }
    return (offsets.last ?? first, nil)
  }
}

/// Why bytes are no TZif file.
public enum ZoneFileError: Error, Hashable, Sendable {
  case truncated, notTZif, malformed(String)
}

extension ZoneRules {
  /// Counts of a block, as they stand in its header (RFC 8536 section 3.1).
  private struct Header {
    static let size = 44
    let version: UInt8
    let isUT, isStandard, leaps, times, types, characters: Int

    init(_ bytes: Span<UInt8>, at start: Int) throws(ZoneFileError) {
      guard bytes.count - start >= Self.size else { throw .truncated }
      guard bytes[start] == 0x54, bytes[start + 1] == 0x5A, bytes[start + 2] == 0x69, bytes[start + 3] == 0x66 else {
        throw .notTZif
      }
      version = bytes[start + 4]
      var counts: [Int] = []
      for field in 0..<6 {
        let count = integer(bytes, at: start + 20 + field * 4, size: 4)
        guard (0...Int64(AccessLimits.zoneFileBytes)).contains(count) else { throw .malformed("a count") }
        counts.append(Int(count))
      }
      (isUT, isStandard, leaps, times, types, characters) =
        (counts[0], counts[1], counts[2], counts[3], counts[4], counts[5])
      guard types > 0 else { throw .malformed("no local time type") }
    }

    /// - Parameter timeSize: 4 bytes in version 1, 8 later.
    func dataSize(timeSize: Int) -> Int {
      times * (timeSize + 1) + types * 6 + characters + leaps * (timeSize + 4) + isStandard + isUT
    }
  }

  /// Reads a file. Leap seconds and names are passed over: POSIX time has none of the first, and nobody is shown the
  /// others.
  public init(parsing bytes: Span<UInt8>) throws(ZoneFileError) {
    guard bytes.count <= AccessLimits.zoneFileBytes else { throw .malformed("its size") }
    var header = try Header(bytes, at: 0)
    var start = Header.size
    var timeSize = 4
    if header.version != 0 {
      // The block of version 1 is there for readers that know no other.
      start += header.dataSize(timeSize: 4)
      header = try Header(bytes, at: start)
      start += Header.size
      timeSize = 8
    }
    let end = start + header.dataSize(timeSize: timeSize)
    guard end <= bytes.count else { throw .truncated }

    let indices = start + header.times * timeSize
    let types = indices + header.times
    var (times, offsets) = ([Int64](), [Int64]())
    for index in 0..<header.times {
      let time = integer(bytes, at: start + index * timeSize, size: timeSize)
      guard times.last.map({ $0 < time }) ?? true else { throw .malformed("times that don't rise") }
      let type = Int(bytes[indices + index])
      guard type < header.types else { throw .malformed("a type") }
      times.append(time)
      offsets.append(try Self.offset(bytes, at: types + type * 6))
    }
    self.init(
      times: times, offsets: offsets, first: try Self.offset(bytes, at: types),
      later: try timeSize == 8 ? Self.footer(bytes, at: end) : nil)
  }

  /// Section 3.2 has "should" for these bounds; more than a day and an hour isn't on Earth.
  private static func offset(_ bytes: Span<UInt8>, at position: Int) throws(ZoneFileError) -> Int64 {
    let offset = integer(bytes, at: position, size: 4)
    guard (-89_999...93_599).contains(offset) else { throw .malformed("an offset") }
    return offset
  }

  /// Section 3.3: a line of its own; an empty one says nothing about the future.
  private static func footer(_ bytes: Span<UInt8>, at start: Int) throws(ZoneFileError) -> RecurringZone? {
    guard start < bytes.count else { throw .truncated }
    guard bytes[start] == 0x0A else { throw .malformed("the footer") }
    var end = start + 1
    while end < bytes.count, bytes[end] != 0x0A { end += 1 }
    guard end < bytes.count else { throw .truncated }
    guard end > start + 1 else { return nil }
    guard let zone = RecurringZone(bytes.extracting((start + 1)..<end)) else { throw .malformed("the footer") }
    return zone
  }
}

/// A signed number in network order.
private func integer(_ bytes: Span<UInt8>, at position: Int, size: Int) -> Int64 {
  var value: UInt64 = bytes[position] & 0x80 != 0 ? .max : 0
  for index in position..<(position + size) { value = value << 8 | UInt64(bytes[index]) }
  return Int64(bitPattern: value)
}
