import Foundation
import Testing

@testable import Access

@Suite struct WeeklyScheduleTests {
  private func schedule(_ zone: String, _ slots: String...) throws -> WeeklySchedule {
    let parsed = try slots.map { try #require(WeeklySlots.Slot($0)) }
    return WeeklySchedule(
      try #require(WeeklySlots(zone: zone, slots: parsed)), zone: try #require(ZoneCatalog.system.rules(zone)))
  }

  private func time(_ text: String) throws -> Int64 {
    Int64(try Date(text + "Z", strategy: .iso8601).timeIntervalSince1970)
  }

  @Test func slotsAsText() throws {
    let slot = try #require(WeeklySlots.Slot("mon-fri 06:00-14:30"))
    #expect(slot.days == [1, 2, 3, 4, 5] && slot.from == 360 && slot.to == 870)
    #expect(slot.description == "mon,tue,wed,thu,fri 06:00-14:30")
    #expect(WeeklySlots.Slot("* 00:00-24:00")?.days.count == 7 && WeeklySlots.Slot("sat,sun 22:00-06:00") != nil)
    for text in [
      "", "mon", "mon 6:00-14:00", "mon 06:00", "fri-mon 06:00-07:00", "mon 24:00-24:00", "mon 06:60-07:00",
      "moon 06:00-07:00",
      "mon 06:00-24:01", "mon  -", ", 06:00-07:00", "mon-tue-wed 06:00-07:00",
    ] {
      #expect(WeeklySlots.Slot(text) == nil, "\(text)")
    }
  }

  @Test func slotsAreBounded() throws {
    let slot = try #require(WeeklySlots.Slot("mon 06:00-14:00"))
    let most = Array(repeating: slot, count: AccessLimits.slots)
    #expect(WeeklySlots(zone: "UTC", slots: most) != nil)
    #expect(WeeklySlots(zone: "UTC", slots: most + [slot]) == nil && WeeklySlots(zone: "UTC", slots: []) == nil)
    #expect(WeeklySlots(zone: "../x", slots: [slot]) == nil)
    #expect(WeeklySlots.Slot(days: [8], from: 0, to: 1) == nil && WeeklySlots.Slot(days: [], from: 0, to: 1) == nil)
    let bad = "{\"zone\":\"UTC\",\"slots\":[{\"days\":[1],\"from\":-1,\"to\":5}]}"
    #expect(throws: DecodingError.self) { _ = try AccessJSON.decode(WeeklySlots.self, from: Array(bad.utf8)) }
  }

  @Test func opensAndClosesByTheWall() throws {
    let shift = try schedule("Europe/Berlin", "mon-fri 06:00-14:00")
    // Monday 2026-07-06, summer: 06:00 is 04:00 UTC.
    let start = try time("2026-07-06T04:00:00")
    #expect(!shift.isOpen(at: start - 1) && shift.isOpen(at: start))
    #expect(try shift.nextChange(after: time("2026-07-06T04:00:00")) == time("2026-07-06T12:00:00"))
    // Friday's end to Monday, over the end of summer time on Sunday 2026-10-25.
    #expect(try shift.nextChange(after: time("2026-10-23T12:00:00")) == time("2026-10-26T05:00:00"))
    // Over midnight and over the week's end.
    let night = try schedule("UTC", "sun 22:00-06:00")
    let end = try time("2026-11-23T06:00:00")
    #expect(night.isOpen(at: end - 1) && !night.isOpen(at: end))
    #expect(try night.nextChange(after: time("2026-11-22T22:00:00")) == time("2026-11-23T06:00:00"))
    // Always is for ever.
    let always = try schedule("Europe/Berlin", "* 00:00-24:00")
    #expect(always.isOpen(at: 0) && always.nextChange(after: 0) == nil)
  }

  @Test func whatAChangeOfTheClocksLeapsOverOrRepeats() throws {
    // 2026-03-29 in Berlin has no 02:00 to 03:00: the slot has what is left of it.
    let spring = try schedule("Europe/Berlin", "sun 02:30-03:30")
    #expect(try spring.nextChange(after: time("2026-03-29T00:00:00")) == time("2026-03-29T01:00:00"))
    #expect(try spring.nextChange(after: time("2026-03-29T01:00:00")) == time("2026-03-29T01:30:00"))
    let gone = try schedule("Europe/Berlin", "sun 02:15-02:45")
    #expect(try gone.nextChange(after: time("2026-03-28T12:00:00")) == time("2026-04-05T00:15:00"))
    // 2026-10-25 has it twice.
    let autumn = try schedule("Europe/Berlin", "sun 02:00-02:30")
    var changes: [Int64] = []
    var now = try time("2026-10-24T12:00:00")
    while changes.count < 4, let next = autumn.nextChange(after: now) {
      changes.append(next)
      now = next
    }
    #expect(
      changes
        == [
          try time("2026-10-25T00:00:00"), try time("2026-10-25T00:30:00"), try time("2026-10-25T01:00:00"),
          try time("2026-10-25T01:30:00"),
        ])
  }

  /// Beside a slow one that looks at each minute's wall clock.
  @Test func asMinuteByMinute() throws {
    var generator = SystemRandomNumberGenerator()
    for _ in 0..<40 {
      let zone = try #require(
        ["Europe/Berlin", "America/St_Johns", "Australia/Lord_Howe", "Asia/Kolkata"].randomElement())
      let slots = (0..<Int.random(in: 1...4)).map { _ in
        WeeklySlots.Slot(
          days: Set((0..<3).map { _ in Int.random(in: 1...7, using: &generator) }), from: Int.random(in: 0...1439),
          to: Int.random(in: 1...1440))!
      }
      let rules = try #require(ZoneCatalog.system.rules(zone))
      let schedule = WeeklySchedule(try #require(WeeklySlots(zone: zone, slots: slots)), zone: rules)
      let start = Int64.random(in: 29_000_000...35_000_000) * 60
      let isOpen = { (time: Int64) -> Bool in
        let wall = time + rules.offset(at: time).offset
        let minute = Int(floorMod(wall, 86_400) / 60)
        let today = Int(CivilDate.weekday(daysSince1970: floorDiv(wall, 86_400))) + 1
        let yesterday = today == 1 ? 7 : today - 1
        return slots.contains { slot in
          if slot.to > slot.from { return slot.days.contains(today) && slot.from <= minute && minute < slot.to }
          return slot.days.contains(today) && minute >= slot.from || slot.days.contains(yesterday) && minute < slot.to
        }
      }
      #expect(schedule.isOpen(at: start) == isOpen(start))
      var time = start
      let end = start + 14 * 86_400
      while time < end, isOpen(time) == isOpen(start) { time += 60 }
      let next = schedule.nextChange(after: start)
      if time < end { #expect(next == time, "\(zone) \(slots) from \(start)") }
    }
  }
}
