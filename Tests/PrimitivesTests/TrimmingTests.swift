import Primitives
import Testing

@Suite struct TrimmingTests {
  @Test func aDrainedMapGivesItsMemoryBackAndKeepsItsNames() {
    var map = SlotMap<Int>(limit: 10_000)
    let ids = (0..<5000).map { map.insert($0)! }
    var isTrimmed = map.trim()
    #expect(!isTrimmed, "all in use")
    for id in ids.dropFirst(100) { map.remove(id) }
    isTrimmed = map.trim()
    #expect(isTrimmed)
    isTrimmed = map.trim()
    #expect(!isTrimmed, "nothing is left to give")
    for (index, id) in ids.prefix(100).enumerated() {
      let value = map[id]
      #expect(value == index)
    }
    let again = (100..<5000).map { map.insert($0)! }
    #expect(Set(again).isDisjoint(with: ids), "a slot that is made anew has another name than before")
    for id in ids.dropFirst(100) {
      let isHeld = map.contains(id)
      #expect(!isHeld)
    }
    for (index, id) in again.enumerated() {
      let value = map[id]
      #expect(value == index + 100)
    }
    let count = map.count
    #expect(count == 5000)
  }

  @Test func whatIsInUseAtTheEndStays() {
    var map = SlotMap<Int>(limit: 10_000)
    // As many as there are slots when they double.
    let ids = (0..<4096).map { map.insert($0)! }
    for id in ids.dropLast() { map.remove(id) }
    var isTrimmed = map.trim()
    #expect(!isTrimmed)
    let value = map[ids[4095]]
    #expect(value == 4095)
    map.remove(ids[4095])
    isTrimmed = map.trim()
    let count = map.count
    #expect(isTrimmed && count == 0)
  }

  @Test func smallTablesAreLeftAlone() {
    var map = SlotMap<Int>(limit: 10_000)
    for id in (0..<(Trimming.threshold / 2)).map({ map.insert($0)! }) { map.remove(id) }
    let isTrimmed = map.trim()
    #expect(!isTrimmed)
  }

  @Test func aDrainedTableDoesTheSame() {
    var table = SlotTable<Int>()
    let ids = (0..<5000).map { table.insert($0) }
    for id in ids.dropFirst(100) { _ = table.remove(id) }
    var isTrimmed = table.trim()
    #expect(isTrimmed)
    isTrimmed = table.trim()
    #expect(!isTrimmed)
    for (index, id) in ids.prefix(100).enumerated() {
      let value = table[id]
      #expect(value == index)
    }
    let again = (100..<5000).map { table.insert($0) }
    #expect(Set(again).isDisjoint(with: ids))
    for (index, id) in again.enumerated() {
      let value = table[id]
      #expect(value == index + 100)
    }
    let count = table.count
    #expect(count == 5000)
  }

  @Test func aDrainedQueueKeepsItsOrder() {
    var queue = RingQueue<Int>()
    for number in 0..<5000 { queue.append(number) }
    for _ in 0..<4900 { _ = queue.popFirst() }
    var isTrimmed = queue.trim()
    #expect(isTrimmed)
    isTrimmed = queue.trim()
    #expect(!isTrimmed)
    for number in 5000..<5200 { queue.append(number) }
    #expect((0..<queue.count).map { queue[$0] } == Array(4900..<5200))
  }

  @Test func aDrainedDictionaryKeepsItsEntries() {
    var dictionary = Dictionary(uniqueKeysWithValues: (0..<5000).map { ($0, -$0) })
    let before = dictionary.capacity
    var isTrimmed = dictionary.trim()
    #expect(!isTrimmed)
    for key in 100..<5000 { dictionary[key] = nil }
    isTrimmed = dictionary.trim()
    #expect(isTrimmed)
    #expect(dictionary.capacity < before / 4)
    #expect(dictionary == Dictionary(uniqueKeysWithValues: (0..<100).map { ($0, -$0) }))
  }

  /// Any order of use against a dictionary, trimmed at any time.
  @Test(arguments: 0..<4 as Range<UInt64>)
  func trimmingNeverChangesWhatIsThere(seed: UInt64) {
    var random = SeededRandom(seed: seed)
    var map = SlotMap<UInt64>(limit: 4000)
    var table = SlotTable<UInt64>()
    var twin: [(inMap: SlotID, inTable: SlotID, value: UInt64)] = []
    var gone: [(inMap: SlotID, inTable: SlotID)] = []
    for phase in 0..<6 {
      for _ in 0..<3000 {
        // Floods and ebbs in turn.
        if random.next() % 8 < (phase % 2 == 0 ? 7 : 1) {
          let value = random.next()
          guard let id = map.insert(value) else { continue }
          twin.append((id, table.insert(value), value))
        } else if !twin.isEmpty {
          let (inMap, inTable, value) = twin.remove(at: Int(random.next() % UInt64(twin.count)))
          let taken = map.remove(inMap)
          #expect(taken == value)
          let removed = table.remove(inTable)
          #expect(removed == value)
          gone.append((inMap, inTable))
        }
        if random.next() % 64 == 0 {
          _ = map.trim()
          _ = table.trim()
        }
      }
      for (inMap, inTable, value) in twin {
        let stored = table[inTable]
        if map[inMap] != value || stored != value { Issue.record("changed, seed \(seed)") }
      }
      for (inMap, inTable) in gone where map.contains(inMap) || table.contains(inTable) {
        Issue.record("an old name is good again, seed \(seed)")
      }
    }
  }
}
