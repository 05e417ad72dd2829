/// When tables that have grown give their memory back: seldom enough to cost nothing, and soon after a flood has drained.
public enum Trimming {
  /// Elements from which on it is worth it: below, a busy path would give back each second what it soon needs again.
  public static let threshold = 1024

  /// How many of a table's slots have to stay: all but the unused ones at its end, if it is large and three quarters of
  /// it are unused. Slots don't move, so that one at the end which is in use keeps all before it.
  ///
  /// - Parameters:
  ///   - used: how many are in use.
  ///   - isFree: whether nobody uses a slot.
  @inlinable public static func count(_ used: Int, of size: Int, where isFree: (Int) -> Bool) -> Int {
    guard isDue(used, of: size) else { return size }
    var kept = size
    while kept > 0, isFree(kept - 1) { kept -= 1 }
    return kept
  }

  /// Whether a table, of which `used` elements are left, takes much more room than they need.
  @inlinable public static func isDue(_ used: Int, of size: Int) -> Bool {
    size >= threshold && used <= size / 4
  }

  /// The first elements in memory of their own size: arrays keep their capacity when elements are removed.
  @inlinable public static func copy<Element>(_ elements: [Element], _ count: Int) -> [Element] {
    Array(elements[..<count])
  }
}

extension Dictionary {
  /// The same in memory of its own size, once three quarters of much of it are unused.
  ///
  /// - Returns: whether it gave memory back.
  @inlinable public mutating func trim() -> Bool {
    guard Trimming.isDue(count, of: capacity) else { return false }
    self = Dictionary(uniqueKeysWithValues: Array(self))
    return true
  }
}
