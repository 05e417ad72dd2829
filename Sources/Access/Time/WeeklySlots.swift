/// Times of the week, by the clock on the wall somewhere.
public struct WeeklySlots: Hashable, Sendable, Codable {
  /// The same time on some days. One that ends at its start or before it ends on the next day.
  public struct Slot: Hashable, Sendable, Codable {
    /// 1 for Monday to 7 for Sunday.
    public var days: Set<Int>
    /// Minutes of the day: 0 to 1439, and 1 to 1440.
    public var from, to: Int

    /// `nil` for days or minutes out of their range.
    public init?(days: Set<Int>, from: Int, to: Int) {
      guard !days.isEmpty, days.allSatisfy((1...7).contains), (0...1439).contains(from), (1...1440).contains(to) else {
        return nil
      }
      self.days = days
      self.from = from
      self.to = to
    }

    private enum CodingKeys: String, CodingKey { case days, from, to }

    public init(from decoder: any Decoder) throws {
      let container = try decoder.container(keyedBy: CodingKeys.self)
      let days = try container.decode([Int].self, forKey: .days)
      guard
        let slot = Slot(
          days: Set(days), from: try container.decode(Int.self, forKey: .from),
          to: try container.decode(Int.self, forKey: .to))
      else { throw DecodingError.dataCorruptedError(forKey: .days, in: container, debugDescription: "no slot") }
      self = slot
    }

    public func encode(to encoder: any Encoder) throws {
      var container = encoder.container(keyedBy: CodingKeys.self)
      try container.encode(days.sorted(), forKey: .days)
      try container.encode(from, forKey: .from)
      try container.encode(to, forKey: .to)
    }
  }

  /// A name of the time zone database, such as `Europe/Berlin`.
  public var zone: String
  public var slots: [Slot]

  /// `nil` unless the zone's name could be one, and there is a number of slots within the bounds.
  public init?(zone: String, slots: [Slot]) {
    guard ZoneName.isValid(zone), (1...AccessLimits.slots).contains(slots.count) else { return nil }
    self.zone = zone
    self.slots = slots
  }

  private enum CodingKeys: String, CodingKey { case zone, slots }

  public init(from decoder: any Decoder) throws {
    let container = try decoder.container(keyedBy: CodingKeys.self)
    guard
      let value = WeeklySlots(
        zone: try container.decode(String.self, forKey: .zone),
        slots: try container.decode([Slot].self, forKey: .slots))
    else { throw DecodingError.dataCorruptedError(forKey: .zone, in: container, debugDescription: "no weekly slots") }
    self = value
  }
}

// MARK: Text

extension WeeklySlots.Slot: LosslessStringConvertible {
  private static let names = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]

  /// `mon,tue,wed 06:00-14:30`.
  public var description: String {
    days.sorted().map { Self.names[$0 - 1] }.joined(separator: ",") + " \(Self.clock(from))-\(Self.clock(to))"
  }

  /// Reads days (`mon-fri`, `sat,sun`, `*`), a space, and `HH:MM-HH:MM`.
  public init?(_ description: String) {
    let parts = description.split(separator: " ")
    guard parts.count == 2 else { return nil }
    var days: Set<Int> = []
    for item in parts[0].split(separator: ",", omittingEmptySubsequences: false) {
      if item == "*" {
        days.formUnion(1...7)
        continue
      }
      let ends = item.split(separator: "-", omittingEmptySubsequences: false).map { end in
        Self.names.firstIndex(of: String(end)).map { $0 + 1 }
      }
      guard (1...2).contains(ends.count), let first = ends[0], let last = ends[ends.count - 1], first <= last else {
        return nil
      }
      days.formUnion(first...last)
    }
    let times = parts[1].split(separator: "-", omittingEmptySubsequences: false).map(Self.minutes)
    guard times.count == 2, let from = times[0], let to = times[1] else { return nil }
    self.init(days: days, from: from, to: to)
  }

  private static func clock(_ minutes: Int) -> String {
    let two = { (number: Int) in number < 10 ? "0\(number)" : "\(number)" }
    return "\(two(minutes / 60)):\(two(minutes % 60))"
  }

  private static func minutes(_ text: Substring) -> Int? {
    let parts = text.split(separator: ":", omittingEmptySubsequences: false)
    guard parts.count == 2, parts.allSatisfy({ $0.utf8.count == 2 && $0.utf8.allSatisfy { (48...57).contains($0) } }),
      let hours = Int(parts[0]), let minutes = Int(parts[1]), minutes < 60, hours * 60 + minutes <= 1440
    else { return nil }
    return hours * 60 + minutes
  }
}

extension WeeklySlots: CustomStringConvertible {
  public var description: String { slots.map(\.description).joined(separator: "; ") + " (\(zone))" }
}
