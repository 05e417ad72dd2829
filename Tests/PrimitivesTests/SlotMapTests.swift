import Primitives
import Testing

@Suite struct SlotMapTests {
  /// Against a dictionary that never reuses a key.
  @Test(arguments: 0..<4 as Range<UInt64>)
  func behavesLikeADictionary(seed: UInt64) {
    var random = SeededRandom(seed: seed)
    var map = SlotMap<UInt64>(limit: 50)
    var twin: [SlotID: UInt64] = [:]
    var gone: [SlotID] = []
    for _ in 0..<4000 {
      let value = random.next()
      switch random.next() % 4 {
      case 0, 1:
        let id = map.insert(value)
        #expect((id == nil) == (twin.count == 50))
        guard let id else { continue }
        #expect(twin[id] == nil && !gone.contains(id))
        #expect(SlotID(token: id.token) == id)
        twin[id] = value
      case 2:
        guard let id = twin.keys.min(by: { $0.token &* value < $1.token &* value }) else { continue }
        let removed = map.remove(id)
        #expect(removed == twin.removeValue(forKey: id))
        gone.append(id)
        if gone.count > 200 { gone.removeFirst() }
      default:
        for (id, old) in twin.prefix(3) {
          let held = map[id]
          #expect(held == old)
          map[id] = value
          twin[id] = value
        }
      }
      let (count, isFull) = (map.count, map.isFull)
      #expect(count == twin.count)
      #expect(isFull == (twin.count == 50))
    }
    for id in gone {
      let isHeld = map.contains(id)
      let removed = map.remove(id)
      #expect(!isHeld && removed == nil)
    }
    let ids = map.ids
    #expect(Set(ids) == Set(twin.keys))
    #expect(ids.map(\.index) == ids.map(\.index).sorted())
    for id in ids {
      let found = map.id(at: id.index)
      #expect(found == id)
    }
    let beyond = map.id(at: 64)
    #expect(beyond == nil)
  }

  @Test func aZeroedIdentifierNamesNothing() {
    var map = SlotMap<Int>(limit: 4)
    var found = map.contains(SlotID(token: 0))
    #expect(!found)
    _ = map.insert(1)
    found = map.contains(SlotID(token: 0)) || map.contains(SlotID(token: .max))
    #expect(!found)
  }
}

@Suite struct SlotTableTests {
  /// Counts how many of its kind live.
  final class Census {
    var alive = 0
  }

  struct Resident: ~Copyable {
    let census: Census
    var value: UInt64

    init(_ census: Census, _ value: UInt64) {
      self.census = census
      self.value = value
      census.alive += 1
    }

    deinit { census.alive -= 1 }
  }

  @Test(arguments: 0..<4 as Range<UInt64>)
  func behavesLikeADictionary(seed: UInt64) {
    var random = SeededRandom(seed: seed)
    let census = Census()
    var twin: [SlotID: UInt64] = [:]
    var gone: Set<SlotID> = []
    do {
      var table = SlotTable<Resident>()
      for _ in 0..<3000 {
        let value = random.next()
        switch random.next() % 4 {
        case 0 where twin.count < 100, 1 where twin.count < 100:
          let id = table.insert(Resident(census, value))
          #expect(twin[id] == nil && !gone.contains(id))
          twin[id] = value
        case 2:
          guard let id = twin.keys.min(by: { $0.token &* value < $1.token &* value }) else { continue }
          let removed = table[id].value
          _ = table.remove(id)
          #expect(removed == twin.removeValue(forKey: id))
          gone.insert(id)
        default:
          for (id, old) in twin.prefix(3) {
            let held = table[id].value
            #expect(held == old)
            table[id].value = value
            twin[id] = value
          }
        }
        let count = table.count
        #expect(count == twin.count && census.alive == count)
      }
      for id in gone {
        let isHeld = table.contains(id)
        #expect(!isHeld)
      }
      let ids = table.ids
      #expect(Set(ids) == Set(twin.keys))
      let zero = table.contains(SlotID(token: 0))
      #expect(!zero)
    }
    #expect(census.alive == 0)
  }
}
