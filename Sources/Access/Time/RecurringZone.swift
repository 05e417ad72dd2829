/// What a zone does after the last change that its file lists: the TZ string of POSIX (RFC 8536 section 3.3.1).
struct RecurringZone: Hashable, Sendable {
  /// A day of each year.
  enum Day: Hashable, Sendable {
    /// `Jn`: 1 to 365, in which 29 February isn't counted.
    case julian(Int64)
    /// `n`: 0 to 365.
    case zeroBased(Int64)
    /// `Mm.w.d`: the `w`th weekday `d` (0 for Sunday) of month `m`, 5 for the last.
    case weekday(month: Int64, week: Int64, day: Int64)

    func daysSince1970(in year: Int64) -> Int64 {
      let first = CivilDate(year: year, month: 1, day: 1).daysSince1970
      switch self {
      case .julian(let day): return first + day - 1 + (day >= 60 && CivilDate.isLeap(year) ? 1 : 0)
      case .zeroBased(let day): return first + day
      case .weekday(let month, let week, let day):
        let start = CivilDate(year: year, month: month, day: 1).daysSince1970
        let next =
          month == 12
          ? CivilDate(year: year + 1, month: 1, day: 1) : CivilDate(year: year, month: month + 1, day: 1)
        let weekdayOfStart = floorMod(start + 4, 7)
        var result = start + floorMod(day - weekdayOfStart, 7) + (week - 1) * 7
        while result >= next.daysSince1970 { result -= 7 }
        return result
      }
    }
  }

  struct Change: Hashable, Sendable {
    var day: Day
    /// Seconds from midnight, by the clock that is left: from -167 to 167 hours.
    var time: Int64
  }

  struct Summer: Hashable, Sendable {
    /// Seconds east of Greenwich.
    var offset: Int64
    var start, end: Change
  }

  /// Seconds east of Greenwich.
  var standard: Int64
  var summer: Summer?

  /// The offset at a time, and when the next one comes.
  func offset(at time: Int64) -> (offset: Int64, until: Int64?) {
    guard let summer else { return (standard, nil) }
    let year = CivilDate(daysSince1970: floorDiv(time + standard, 86_400)).year
    var changes: [(time: Int64, isSummer: Bool)] = []
    for year in (year - 1)...(year + 1) {
      changes.append((summer.start.day.daysSince1970(in: year) * 86_400 + summer.start.time - standard, true))
      changes.append((summer.end.day.daysSince1970(in: year) * 86_400 + summer.end.time - summer.offset, false))
    }
    // Where summer ends and begins at once, it goes on.
    changes.sort { ($0.time, $0.isSummer ? 1 : 0) < ($1.time, $1.isSummer ? 1 : 0) }
    var isSummer = changes.first.map { !$0.isSummer } ?? false
    for change in changes where change.time <= time { isSummer = change.isSummer }
    let next = changes.first { $0.time > time && $0.isSummer != isSummer }
    return (isSummer ? summer.offset : standard, next?.time)
  }
}

extension RecurringZone {
  /// Reads `CET-1CEST,M3.5.0,M10.5.0/3`; `nil` for anything else.
  init?(_ text: Span<UInt8>) {
    var reader = Reader(text)
    guard reader.name(), let west = reader.clock(hours: 24) else { return nil }
    standard = -west
    guard !reader.isAtEnd else { return }
    guard reader.name() else { return nil }
    var offset = standard + 3600
    if !reader.isAt(UInt8(ascii: ",")) {
      guard let west = reader.clock(hours: 24) else { return nil }
      offset = -west
    }
    guard let start = reader.change(), let end = reader.change(), reader.isAtEnd else { return nil }
    summer = Summer(offset: offset, start: start, end: end)
  }

  private struct Reader {
    let text: [UInt8]
    var position = 0

    init(_ span: Span<UInt8>) {
      text = span.indices.map { span[$0] }
    }

    var isAtEnd: Bool { position == text.count }

    func isAt(_ byte: UInt8) -> Bool { position < text.count && text[position] == byte }

    mutating func take(_ byte: UInt8) -> Bool {
      guard isAt(byte) else { return false }
      position += 1
      return true
    }

    /// Three letters or more, or anything within angle brackets.
    mutating func name() -> Bool {
      let start = position
      if take(UInt8(ascii: "<")) {
        while position < text.count, text[position] != UInt8(ascii: ">") { position += 1 }
        return take(UInt8(ascii: ">")) && position - start > 2
      }
      while position < text.count, (65...90).contains(text[position] & 0xDF) { position += 1 }
      return position - start >= 3
    }

    mutating func number(_ range: ClosedRange<Int64>) -> Int64? {
      var (value, digits) = (Int64(0), 0)
      while position < text.count, (48...57).contains(text[position]), digits < 4 {
        value = value * 10 + Int64(text[position] - 48)
        position += 1
        digits += 1
      }
      return digits > 0 && range.contains(value) ? value : nil
    }

    /// `[+-]hh[:mm[:ss]]` as seconds.
    mutating func clock(hours: Int64) -> Int64? {
      let isNegative = take(UInt8(ascii: "-"))
      if !isNegative { _ = take(UInt8(ascii: "+")) }
      guard var seconds = number(0...hours).map({ $0 * 3600 }) else { return nil }
      for unit in [Int64(60), 1] where take(UInt8(ascii: ":")) {
        guard let part = number(0...59) else { return nil }
        seconds += part * unit
      }
      return isNegative ? -seconds : seconds
    }

    /// `,DAY[/TIME]`.
    mutating func change() -> Change? {
      guard take(UInt8(ascii: ",")) else { return nil }
      let day: Day
      if take(UInt8(ascii: "J")) {
        guard let number = number(1...365) else { return nil }
        day = .julian(number)
      } else if take(UInt8(ascii: "M")) {
        guard let month = number(1...12), take(UInt8(ascii: ".")), let week = number(1...5), take(UInt8(ascii: ".")),
          let weekday = number(0...6)
        else { return nil }
        day = .weekday(month: month, week: week, day: weekday)
      } else {
        guard let number = number(0...365) else { return nil }
        day = .zeroBased(number)
      }
      guard take(UInt8(ascii: "/")) else { return Change(day: day, time: 2 * 3600) }
      return clock(hours: 167).map { Change(day: day, time: $0) }
    }
  }
}
