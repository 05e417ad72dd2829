import Primitives

/// Which addresses were seen on which side, bounded and aged (IEEE 802.1Q section 8.7). Allocates when it is made only.
///
/// Addresses behind the PC are few, and are never pushed out by others; those of devices are as many as there is room for,
/// and then the place of another one is taken.
struct StationTable {
  enum Side: UInt8 { case pc, site }

  /// Time without a frame after which an address is forgotten (IEEE 802.1Q table 8-6).
  static let age = Interval.seconds(300)

  private struct Station {
    /// The address with a bit above it that is set in every entry; 0 for a free place.
    var key: UInt64 = 0
    var side = Side.pc
    var seen = Instant.zero
  }

  private var places: [Station]
  private var count = 0
  private(set) var pcCount = 0
  private let pcLimit: Int
  private let limit: Int
  private let mask: Int
  /// Where the search for a place to take begins.
  private var hand = 0
  /// Linear, and so not done for each frame of a flood.
  private var nextSweep = Instant.zero
  private static let present: UInt64 = 1 << 48

  /// - Parameters:
  ///   - limit: addresses in all; a power of two.
  init(limit: Int, pcLimit: Int) {
    precondition(limit > pcLimit && limit & (limit - 1) == 0, "not a power of two")
    self.limit = limit
    self.pcLimit = pcLimit
    // Half of the places stay free, so that chains are short.
    places = Array(repeating: Station(), count: limit * 2)
    mask = limit * 2 - 1
  }

  /// The side where an address was seen last; `nil` if that is too long ago.
  func side(of address: MACAddress, now: Instant) -> Side? {
    let place = find(address)
    guard places[place].key != 0, now - places[place].seen < Self.age else { return nil }
    return places[place].side
  }

  /// Whether there is room for one more address behind the PC. Linear when there is none.
  mutating func hasRoomForPC(now: Instant) -> Bool {
    if pcCount >= pcLimit { makeRoom(now: now) }
    return pcCount < pcLimit
  }

  /// Keeps where an address was seen.
  mutating func learn(_ address: MACAddress, on side: Side, now: Instant) {
    var place = find(address)
    if places[place].key == 0 {
      if count >= limit || (side == .pc && pcCount >= pcLimit) {
        makeRoom(now: now)
        place = find(address)
      }
      guard count < limit, side == .site || pcCount < pcLimit else { return }
      count += 1
      if side == .pc { pcCount += 1 }
      places[place] = Station(key: address.value | Self.present, side: side, seen: now)
      return
    }
    if places[place].side != side { pcCount += side == .pc ? 1 : -1 }
    places[place].side = side
    places[place].seen = now
  }

  /// Forgets what is old; if nothing is and the table is full, a device.
  private mutating func makeRoom(now: Instant) {
    if now >= nextSweep {
      nextSweep = now + .seconds(1)
      var place = 0
      while place < places.count {
        if places[place].key != 0, now - places[place].seen >= Self.age { remove(at: place) } else { place += 1 }
      }
    }
    guard count >= limit else { return }
    for _ in 0..<places.count {
      hand = (hand + 1) & mask
      guard places[hand].key != 0, places[hand].side == .site else { continue }
      return remove(at: hand)
    }
  }

  /// The place of an address, or the free one where its chain ends.
  private func find(_ address: MACAddress) -> Int {
    var place = home(address.value | Self.present)
    while places[place].key != 0, places[place].key != address.value | Self.present { place = (place + 1) & mask }
    return place
  }

  private func home(_ key: UInt64) -> Int {
    Int(truncatingIfNeeded: RecentKeys.mix(key)) & mask
  }

  /// Takes an entry out and closes the gap in the chains behind it.
  private mutating func remove(at place: Int) {
    count -= 1
    if places[place].side == .pc { pcCount -= 1 }
    var gap = place
    var next = (gap + 1) & mask
    while places[next].key != 0 {
      let distance = (next - home(places[next].key)) & mask
      if distance >= (next - gap) & mask {
        places[gap] = places[next]
        gap = next
      }
      next = (next + 1) & mask
    }
    places[gap] = Station()
  }
}
