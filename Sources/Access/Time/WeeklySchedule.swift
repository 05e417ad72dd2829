/// Weekly slots in their zone: what is open when, in seconds since 1970.
public struct WeeklySchedule: Hashable, Sendable {
  private static let week: Int64 = 7 * 86_400

  private let zone: ZoneRules
  /// Seconds of the week from Monday 0:00, in rising order, disjoint: open from the first, closed at the second.
  private let spans: [(from: Int64, to: Int64)]

  public init(_ slots: WeeklySlots, zone: ZoneRules) {
    self.zone = zone
    var all: [(from: Int64, to: Int64)] = []
    for slot in slots.slots {
      for day in slot.days {
        let midnight = Int64(day - 1) * 86_400
        let from = midnight + Int64(slot.from) * 60
        let to = midnight + Int64(slot.to) * 60 + (slot.to <= slot.from ? 86_400 : 0)
        all.append((from, min(to, Self.week)))
        // From Sunday into Monday.
        if to > Self.week { all.append((0, to - Self.week)) }
      }
    }
    var merged: [(from: Int64, to: Int64)] = []
    for span in all.sorted(by: { $0.from < $1.from }) {
      if let last = merged.last, last.to >= span.from {
        merged[merged.count - 1].to = max(last.to, span.to)
      } else {
        merged.append(span)
      }
    }
    spans = merged
  }

  public static func == (left: WeeklySchedule, right: WeeklySchedule) -> Bool {
    left.zone == right.zone && left.spans.elementsEqual(right.spans, by: ==)
  }

  public func hash(into hasher: inout Hasher) {
    hasher.combine(zone)
    for span in spans { hasher.combine(span.from) }
  }

  public func isOpen(at time: Int64) -> Bool {
    isOpen(wall: wall(time, zone.offset(at: time).offset))
  }

  /// When it opens or closes next, in seconds since 1970; `nil` if it doesn't within two weeks: it is always open.
  ///
  /// Between two changes of the clocks, time on the wall runs like any other. What a change leaps over doesn't come, and
  /// what it repeats comes twice.
  public func nextChange(after time: Int64) -> Int64? {
    let wasOpen = isOpen(at: time)
    let horizon = time + AccessLimits.scheduleHorizonDays * 86_400
    var time = time
    while time < horizon {
      let (offset, changes) = zone.offset(at: time)
      var next = time + boundary(after: wall(time, offset))
      if let changes, changes < next { next = changes }
      if isOpen(at: next) != wasOpen { return next }
      time = next
    }
    return nil
  }

  /// Seconds of the week by the clock on the wall. 1970-01-01 was a Thursday.
  private func wall(_ time: Int64, _ offset: Int64) -> Int64 { floorMod(time + offset + 3 * 86_400, Self.week) }

  private func isOpen(wall: Int64) -> Bool { spans.contains { $0.from <= wall && wall < $0.to } }

  /// How many seconds to the next beginning or end of a span: 1 or more.
  private func boundary(after wall: Int64) -> Int64 {
    var best = Self.week
    for span in spans {
      for edge in [span.from, span.to] {
        let distance = floorMod(edge - wall, Self.week)
        if distance > 0 { best = min(best, distance) }
      }
    }
    return best
  }
}
