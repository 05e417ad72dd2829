import Primitives

/// Slows down guessing: after some failures, a user name or an address has to wait, each time twice as long.
struct LoginThrottle: Sendable {
  private struct Entry {
    var failures = 0
    var until = Instant.zero
    var last = Instant.zero
  }

  /// Failures without a wait: slips of the finger.
  static let free = 5
  static let firstWait = Interval.seconds(2)
  static let longestWait = Interval.seconds(300)
  /// After this long without a failure all is forgiven.
  static let memory = Interval.seconds(3600)
  /// Names and addresses remembered; the oldest half goes when it is full.
  static let limit = 4096

  /// Of keys for one-time codes of an account, from whatever address.
  static let codePrefix = "code:"

  private var entries: [String: Entry] = [:]

  /// Names and addresses with failures that aren't forgotten.
  var count: Int { entries.count }

  /// How long these have to wait yet; `nil` if they may try. A key is a user name or an address, with a prefix.
  func wait(for keys: [String], now: Instant) -> Interval? {
    keys.compactMap { entries[$0].map { $0.until - now } }.max().flatMap { $0 > .zero ? $0 : nil }
  }

  mutating func failed(_ keys: [String], now: Instant) {
    for key in keys {
      var entry = entries[key] ?? Entry()
      if now - entry.last > Self.memory { entry = Entry() }
      entry.failures += 1
      entry.last = now
      let excess = entry.failures - Self.free
      if excess >= 0 { entry.until = now + min(Self.longestWait, Self.firstWait * (1 << Int64(min(excess, 10)))) }
      entries[key] = entry
    }
    guard entries.count > Self.limit else { return }
    let middle = entries.values.map(\.last).sorted()[entries.count / 2]
    entries = entries.filter { $0.value.last > middle }
  }

  mutating func succeeded(_ keys: [String]) {
    for key in keys { entries[key] = nil }
  }
}
