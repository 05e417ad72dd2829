import Foundation
import Testing

@testable import Access

@Suite struct ZoneRulesTests {
  private static let directory = "/usr/share/zoneinfo"

  private func bytes(_ zone: String) throws -> [UInt8] {
    Array(try Data(contentsOf: URL(filePath: "\(Self.directory)/\(zone)")))
  }

  private func rules(_ bytes: [UInt8]) throws(ZoneFileError) -> ZoneRules { try ZoneRules(parsing: bytes.span) }

  private func zone(_ text: String) -> RecurringZone? {
    let bytes = Array(text.utf8)
    return RecurringZone(bytes.span)
  }

  /// The same offsets as the C library's, for zones of all kinds, from 1902 to 2100.
  @Test(arguments: [
    "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "Africa/Casablanca", "Europe/Dublin",
    "America/Nuuk", "Pacific/Apia", "Asia/Gaza", "America/Santiago", "Etc/UTC", "Etc/GMT+3", "Antarctica/Troll",
  ])
  func offsetsAreThoseOfTheCLibrary(_ name: String) throws {
    let zone = try rules(bytes(name))
    let reference = try #require(TimeZone(identifier: name))
    var generator = SystemRandomNumberGenerator()
    for _ in 0..<2000 {
      let time = Int64.random(in: -2_000_000_000...4_000_000_000, using: &generator)
      let expected = Int64(reference.secondsFromGMT(for: Date(timeIntervalSince1970: TimeInterval(time))))
      #expect(zone.offset(at: time).offset == expected, "\(name) at \(time)")
    }
  }

  @Test func changesComeWhenTheySay() throws {
    let berlin = try rules(bytes("Europe/Berlin"))
    // 2026-03-29 01:00 UTC and 2026-10-25 01:00 UTC; far behind what the file lists, 2090-03-26.
    #expect(berlin.offset(at: 1_774_746_000 - 1) == (3600, 1_774_746_000))
    #expect(berlin.offset(at: 1_774_746_000) == (7200, 1_792_890_000))
    #expect(berlin.offset(at: 3_794_173_200 - 1).offset == 3600 && berlin.offset(at: 3_794_173_200).offset == 7200)
    let utc = try rules(bytes("Etc/UTC"))
    #expect(utc.offset(at: 0) == (0, nil))
    // Without summer time for good, and summer all the year.
    #expect(zone("<-03>3") == RecurringZone(standard: -10_800, summer: nil))
    let always = try #require(zone("XXX3EDT4,0/0,J365/23"))
    for day in stride(from: Int64(0), to: 1000, by: 7) {
      #expect(always.offset(at: day * 86_400 + 1_700_000_000).offset == -4 * 3600)
    }
  }

  @Test func oddFootersAreRefused() {
    for text in [
      "", "CE", "CET", "CET-1CEST", "CET-1CEST,M3.5.0", "CET-1CEST,M13.5.0,M10.5.0", "CET-1CEST,M3.6.0,M10.5.0",
      "CET-1CEST,M3.5.7,M10.5.0", "CET-25", "<>1", "<AB1", "CET-1CEST,J0,J1", "CET-1CEST,366,1",
      "CET-1CEST,M3.5.0/168,1",
      "CET-1CEST,M3.5.0,M10.5.0/3x", "CET-1CEST,99999999999999999999,1",
    ] {
      #expect(zone(text) == nil, "\(text)")
    }
  }

  @Test func damagedFilesAreRefused() throws {
    let whole = try bytes("Europe/Berlin")
    for count in 0..<whole.count {
      #expect(throws: ZoneFileError.self, "\(count)") { _ = try rules(Array(whole[..<count])) }
    }
    var generator = SystemRandomNumberGenerator()
    for _ in 0..<3000 {
      var bytes = whole
      for _ in 0..<Int.random(in: 1...4) {
        bytes[Int.random(in: 0..<bytes.count)] = UInt8.random(in: 0...255, using: &generator)
      }
      guard let damaged = try? rules(bytes) else { continue }
      _ = damaged.offset(at: Int64.random(in: -5_000_000_000...5_000_000_000))
    }
    #expect(throws: ZoneFileError.notTZif) { _ = try rules([UInt8](repeating: 7, count: 100)) }
    let large = whole + [UInt8](repeating: 0, count: AccessLimits.zoneFileBytes)
    #expect(throws: ZoneFileError.self) { _ = try rules(large) }
  }

  @Test func namesStayInTheDirectory() {
    for name in [
      "", "..", "../etc/passwd", "/etc/passwd", "Europe/../../x", "Europe//Berlin", "Europe/", "a\u{0}b", ".x",
    ] {
      #expect(ZoneCatalog.system.rules(name) == nil && !ZoneName.isValid(name), "\(name)")
    }
    #expect(!ZoneName.isValid(String(repeating: "a", count: AccessLimits.zoneNameBytes + 1)))
    #expect(ZoneCatalog.system.rules("Europe/Berlin") != nil && ZoneCatalog.system.rules("Europe/Atlantis") == nil)
    #expect(ZoneCatalog(directory: "/nowhere").rules("UTC") == .utc)
  }
}
