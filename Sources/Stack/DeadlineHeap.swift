import Primitives

/// The deadlines of many flows, the nearest first: a binary heap that knows where each flow stands.
///
/// A flow moves its deadline with almost every packet, mostly to a later time. Such a move isn't written down: the old
/// deadline fires once too early, and whoever handles it sets the true one. A heap entry per flow, never more.
struct DeadlineHeap {
  private struct Entry {
    var deadline: Instant
    var slot: UInt32
  }

  private var entries: [Entry] = []
  /// By slot: the index into `entries`, or -1.
  private var positions: [Int32] = []

  /// The time of the nearest deadline, or an earlier one that was since postponed.
  var first: Instant? { entries.first?.deadline }

  var count: Int { entries.count }

  /// Sees to it that the slot is woken no later than `deadline`.
  mutating func require(_ deadline: Instant, for slot: UInt32) {
    while positions.count <= Int(slot) { positions.append(-1) }
    let position = Int(positions[Int(slot)])
    if position >= 0 {
      guard deadline < entries[position].deadline else { return }
      entries[position].deadline = deadline
      siftUp(position)
    } else {
      entries.append(Entry(deadline: deadline, slot: slot))
      positions[Int(slot)] = Int32(entries.count - 1)
      siftUp(entries.count - 1)
    }
  }

  mutating func remove(_ slot: UInt32) {
    guard Int(slot) < positions.count, positions[Int(slot)] >= 0 else { return }
    removeEntry(at: Int(positions[Int(slot)]))
  }

  /// Takes out a slot whose deadline has come.
  mutating func popExpired(now: Instant) -> UInt32? {
    guard let first = entries.first, first.deadline <= now else { return nil }
    removeEntry(at: 0)
    return first.slot
  }

  /// Gives back memory once most deadlines are gone.
  mutating func trim() -> Bool {
    guard Trimming.isDue(entries.count, of: positions.count) else { return false }
    let used = (positions.lastIndex { $0 >= 0 } ?? -1) + 1
    guard used < positions.count else { return false }
    positions = Trimming.copy(positions, used)
    entries = Trimming.copy(entries, entries.count)
    return true
  }

  private mutating func removeEntry(at position: Int) {
    positions[Int(entries[position].slot)] = -1
    let last = entries.removeLast()
    guard position < entries.count else { return }
    place(last, at: position)
    siftDown(position)
    siftUp(position)
  }

  private mutating func siftUp(_ start: Int) {
    var position = start
    let entry = entries[position]
    while position > 0 {
      let parent = (position - 1) / 2
      guard entry.deadline < entries[parent].deadline else { break }
      place(entries[parent], at: position)
      position = parent
    }
    place(entry, at: position)
  }

  private mutating func siftDown(_ start: Int) {
    var position = start
    let entry = entries[position]
    while true {
      var child = 2 * position + 1
      guard child < entries.count else { break }
      if child + 1 < entries.count, entries[child + 1].deadline < entries[child].deadline { child += 1 }
      guard entries[child].deadline < entry.deadline else { break }
      place(entries[child], at: position)
      position = child
    }
    place(entry, at: position)
  }

  private mutating func place(_ entry: Entry, at position: Int) {
    entries[position] = entry
    positions[Int(entry.slot)] = Int32(position)
  }
}
