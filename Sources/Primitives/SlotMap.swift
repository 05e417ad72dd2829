/// Names an element of a `SlotMap`; stays invalid for good once that element is removed.
public struct SlotID: Hashable, Sendable, BitwiseCopyable {
  public let index: UInt32
  public let generation: UInt32

  @inlinable public init(index: UInt32, generation: UInt32) {
    self.index = index
    self.generation = generation
  }

  /// Both halves as one number, to travel through an epoll token.
  public var token: UInt64 { UInt64(generation) << 32 | UInt64(index) }

  public init(token: UInt64) {
    index = UInt32(truncatingIfNeeded: token)
    generation = UInt32(truncatingIfNeeded: token >> 32)
  }
}

/// Elements in reused slots, found by an identifier that a later tenant of the slot doesn't answer to.
///
/// Lookup is one bounds check and one comparison. Memory grows to the highest number of
/// elements held at once, never beyond `limit`, and shrinks with `trim`.
@frozen public struct SlotMap<Element> {
  @usableFromInline @frozen struct Slot {
    @usableFromInline var generation: UInt32
    @usableFromInline var element: Element?

    @inlinable init(generation: UInt32, element: Element?) {
      self.generation = generation
      self.element = element
    }
  }

  @usableFromInline var slots: [Slot] = []
  @usableFromInline var free: [UInt32] = []
  public let limit: Int
  @usableFromInline var size = 0
  /// The generation of a slot that is made: above that of every slot that `trim` has given back.
  @usableFromInline var firstGeneration: UInt32 = 1

  @inlinable public var count: Int { size }

  @inlinable public init(limit: Int) {
    self.limit = limit
  }

  @inlinable public var isFull: Bool { count >= limit }

  /// Returns `nil` when `limit` elements are held.
  @inlinable public mutating func insert(_ element: Element) -> SlotID? {
    guard size < limit else { return nil }
    size += 1
    if let index = free.popLast() {
      slots[Int(index)].element = element
      return SlotID(index: index, generation: slots[Int(index)].generation)
    }
    slots.append(Slot(generation: firstGeneration, element: element))
    return SlotID(index: UInt32(slots.count - 1), generation: firstGeneration)
  }

  @inlinable public func contains(_ id: SlotID) -> Bool {
    Int(id.index) < slots.count && slots[Int(id.index)].generation == id.generation
      && slots[Int(id.index)].element != nil
  }

  /// Reads or changes an element where it lies. The identifier must be valid: check with `contains`
  /// where it came from outside.
  @inlinable public subscript(id: SlotID) -> Element {
    _read {
      precondition(contains(id), "stale slot")
      yield slots[Int(id.index)].element!
    }
    _modify {
      precondition(contains(id), "stale slot")
      yield &slots[Int(id.index)].element!
    }
  }

  @discardableResult
  @inlinable public mutating func remove(_ id: SlotID) -> Element? {
    guard contains(id) else { return nil }
    let element = slots[Int(id.index)].element.take()
    // Generation 0 is never given out, so that a zeroed identifier is always invalid.
    slots[Int(id.index)].generation = max(1, slots[Int(id.index)].generation &+ 1)
    free.append(id.index)
    size -= 1
    return element
  }

  /// Gives back the memory of unused slots at the end once three quarters of many are unused. For a timer.
  ///
  /// - Returns: whether there was any.
  public mutating func trim() -> Bool {
    let used = Trimming.count(size, of: slots.count) { slots[$0].element == nil }
    guard used < slots.count else { return false }
    firstGeneration = slots[used...].reduce(firstGeneration) { max($0, $1.generation) }
    slots = Trimming.copy(slots, used)
    free = free.filter { $0 < UInt32(used) }
    return true
  }

  /// The identifier of the element in a slot; `nil` if there is none.
  @inlinable public func id(at index: UInt32) -> SlotID? {
    guard Int(index) < slots.count, slots[Int(index)].element != nil else { return nil }
    return SlotID(index: index, generation: slots[Int(index)].generation)
  }

  /// The identifiers of all elements, in slot order. Allocates: not for the packet path.
  @inlinable public var ids: [SlotID] {
    slots.indices.compactMap { index in
      slots[index].element == nil
        ? nil : SlotID(index: UInt32(index), generation: slots[index].generation)
    }
  }
}
