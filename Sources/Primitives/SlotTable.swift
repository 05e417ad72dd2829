/// Elements in reused slots, as in `SlotMap`, that may be owners of descriptors and the like; as many as there are.
///
/// Inlinable throughout: an unspecialised generic would move its elements by way of their metadata.
@safe @frozen public struct SlotTable<Element: ~Copyable>: ~Copyable {
  @usableFromInline var storage: UnsafeMutablePointer<Element>
  /// The generation of the element in each slot, 0 where there is none.
  @usableFromInline var generations: [UInt32] = []
  @usableFromInline var lastGenerations: [UInt32] = []
  /// What the slots count on from that `trim` has given back.
  @usableFromInline var firstGeneration: UInt32 = 0
  @usableFromInline var free: [UInt32] = []
  @usableFromInline var size = 0

  @inlinable public var count: Int { size }

  @inlinable public init() {
    unsafe storage = .allocate(capacity: 0)
  }

  @inlinable deinit {
    for index in 0..<generations.count where generations[index] != 0 {
      unsafe (storage + index).deinitialize(count: 1)
    }
    unsafe storage.deallocate()
  }

  @inlinable public func contains(_ id: SlotID) -> Bool {
    Int(id.index) < generations.count && generations[Int(id.index)] == id.generation && id.generation != 0
  }

  /// Works on an element where it lies. The identifier must be valid: see `contains`.
  @inlinable public subscript(id: SlotID) -> Element {
    _read {
      precondition(contains(id), "stale slot")
      yield unsafe storage[Int(id.index)]
    }
    _modify {
      precondition(contains(id), "stale slot")
      yield unsafe &storage[Int(id.index)]
    }
  }

  @inlinable public mutating func insert(_ element: consuming Element) -> SlotID {
    if free.isEmpty { grow() }
    let index = Int(free.removeLast())
    unsafe (storage + index).initialize(to: element)
    // Generation 0 is never given out, so that a zeroed identifier is always invalid.
    lastGenerations[index] = max(1, lastGenerations[index] &+ 1)
    generations[index] = lastGenerations[index]
    size += 1
    return SlotID(index: UInt32(index), generation: generations[index])
  }

  @inlinable public mutating func remove(_ id: SlotID) -> Element? {
    guard contains(id) else { return nil }
    size -= 1
    generations[Int(id.index)] = 0
    free.append(id.index)
    return unsafe (storage + Int(id.index)).move()
  }

  /// The identifier of the element in a slot; `nil` if there is none.
  @inlinable public func id(at index: UInt32) -> SlotID? {
    guard Int(index) < generations.count, generations[Int(index)] != 0 else { return nil }
    return SlotID(index: index, generation: generations[Int(index)])
  }

  /// The identifiers of all elements, in slot order. Allocates.
  @inlinable public var ids: [SlotID] {
    generations.indices.compactMap { index in
      generations[index] == 0 ? nil : SlotID(index: UInt32(index), generation: generations[index])
    }
  }

  /// Gives back the memory of unused slots at the end once three quarters of many are unused. For a timer.
  ///
  /// - Returns: whether there was any.
  @inlinable public mutating func trim() -> Bool {
    let used = Trimming.count(count, of: generations.count) { generations[$0] == 0 }
    guard used < generations.count else { return false }
    firstGeneration = lastGenerations[used...].reduce(firstGeneration) { max($0, $1) }
    resize(to: used)
    generations = Trimming.copy(generations, used)
    lastGenerations = Trimming.copy(lastGenerations, used)
    free = free.filter { $0 < UInt32(used) }
    return true
  }

  @inlinable mutating func grow() {
    let made = generations.count
    let larger = max(16, made * 2)
    resize(to: larger)
    generations += Array(repeating: 0, count: larger - made)
    lastGenerations += Array(repeating: firstGeneration, count: larger - made)
    for index in (made..<larger).reversed() { free.append(UInt32(index)) }
  }

  @inlinable mutating func resize(to capacity: Int) {
    let moved = UnsafeMutablePointer<Element>.allocate(capacity: capacity)
    for index in 0..<min(capacity, generations.count) where generations[index] != 0 {
      unsafe (moved + index).moveInitialize(from: storage + index, count: 1)
    }
    unsafe storage.deallocate()
    unsafe storage = moved
  }
}
