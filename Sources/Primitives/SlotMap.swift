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

/// So many elements in reused slots, found by an identifier that a later tenant of the slot doesn't answer to.
///
/// Lookup is one bounds check and one comparison, and elements are read and changed where they lie. Memory grows with the
/// highest number of elements held at once, which is `limit` at most, and shrinks with `trim`.
@frozen public struct SlotMap<Element>: ~Copyable {
  @usableFromInline var table = SlotTable<Element>()
  public let limit: Int

  @inlinable public var count: Int { table.count }

  @inlinable public init(limit: Int) {
    self.limit = limit
  }

  @inlinable public var isFull: Bool { count >= limit }

  /// Returns `nil` when `limit` elements are held.
  @inlinable public mutating func insert(_ element: Element) -> SlotID? {
    count < limit ? table.insert(element) : nil
  }

  @inlinable public func contains(_ id: SlotID) -> Bool {
    table.contains(id)
  }

  /// Reads or changes an element where it lies. The identifier must be valid: check with `contains`
  /// where it came from outside.
  @inlinable public subscript(id: SlotID) -> Element {
    _read { yield table[id] }
    _modify { yield &table[id] }
  }

  @discardableResult
  @inlinable public mutating func remove(_ id: SlotID) -> Element? {
    table.remove(id)
  }

  /// See `SlotTable.trim`.
  @inlinable public mutating func trim() -> Bool {
    table.trim()
  }

  /// The identifier of the element in a slot; `nil` if there is none.
  @inlinable public func id(at index: UInt32) -> SlotID? {
    table.id(at: index)
  }

  /// The identifiers of all elements, in slot order. Allocates: not for the packet path.
  @inlinable public var ids: [SlotID] { table.ids }
}
