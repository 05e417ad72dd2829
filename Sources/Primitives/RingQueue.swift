/// A first-in first-out queue that allocates only when it outgrows what it has held before.
///
/// Inlinable throughout: an unspecialised generic would allocate per element.
@frozen public struct RingQueue<Element> {
  @usableFromInline var storage: [Element?]
  @usableFromInline var head = 0
  @usableFromInline var size = 0

  /// - Parameter minimumCapacity: elements that fit before the first growth.
  @inlinable public init(minimumCapacity: Int = 0) {
    var capacity = 4
    while capacity < minimumCapacity { capacity *= 2 }
    storage = minimumCapacity == 0 ? [] : Array(repeating: nil, count: capacity)
  }

  @inlinable public var count: Int { size }

  @inlinable public var isEmpty: Bool { size == 0 }

  @inlinable public var first: Element? {
    count == 0 ? nil : storage[head]
  }

  @inlinable public var last: Element? {
    count == 0 ? nil : self[count - 1]
  }

  /// The element `position` places behind the first one.
  @inlinable public subscript(position: Int) -> Element {
    get {
      precondition(position >= 0 && position < count, "position outside of the queue")
      return storage[slot(position)]!
    }
    set {
      precondition(position >= 0 && position < count, "position outside of the queue")
      storage[slot(position)] = newValue
    }
  }

  @inlinable public mutating func append(_ element: Element) {
    if count == storage.count { grow() }
    storage[slot(count)] = element
    size += 1
  }

  @inlinable public mutating func prepend(_ element: Element) {
    if count == storage.count { grow() }
    head = (head + storage.count - 1) & (storage.count - 1)
    storage[head] = element
    size += 1
  }

  @inlinable public mutating func popFirst() -> Element? {
    guard count > 0 else { return nil }
    let element = storage[head].take()
    head = (head + 1) & (storage.count - 1)
    size -= 1
    return element
  }

  /// Inserts so that the new element stands at `position`; moves what lies behind it. Linear.
  @inlinable public mutating func insert(_ element: Element, at position: Int) {
    precondition(position >= 0 && position <= count, "position outside of the queue")
    append(element)
    var index = count - 1
    while index > position {
      storage[slot(index)] = storage[slot(index - 1)]
      index -= 1
    }
    storage[slot(position)] = element
  }

  /// Linear.
  @inlinable public mutating func remove(at position: Int) -> Element {
    let element = self[position]
    for index in position..<(count - 1) {
      storage[slot(index)] = storage[slot(index + 1)]
    }
    storage[slot(count - 1)] = nil
    size -= 1
    return element
  }

  @inlinable public mutating func removeAll() {
    while popFirst() != nil {}
  }

  /// Gives memory back once three quarters of much of it are unused. For a timer.
  ///
  /// - Returns: whether there was any.
  public mutating func trim() -> Bool {
    guard Trimming.isDue(count, of: storage.count) else { return false }
    var smaller = RingQueue(minimumCapacity: max(count, 64))
    while let element = popFirst() { smaller.append(element) }
    self = smaller
    return true
  }

  @inlinable func slot(_ position: Int) -> Int {
    (head + position) & (storage.count - 1)
  }

  @usableFromInline mutating func grow() {
    var larger: [Element?] = []
    larger.reserveCapacity(max(4, storage.count * 2))
    for position in 0..<count { larger.append(storage[slot(position)]) }
    while larger.count < max(4, storage.count * 2) { larger.append(nil) }
    storage = larger
    head = 0
  }
}
