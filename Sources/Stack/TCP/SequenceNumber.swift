/// A position in a TCP byte stream, modulo 2³² (RFC 9293 section 3.4).
///
/// Not `Comparable`: the order holds only between numbers less than 2³¹ apart, so it is not transitive.
struct SequenceNumber: Hashable, Sendable, BitwiseCopyable {
  var value: UInt32

  init(_ value: UInt32) {
    self.value = value
  }

  static func + (number: SequenceNumber, count: Int) -> SequenceNumber {
    SequenceNumber(number.value &+ UInt32(truncatingIfNeeded: count))
  }

  static func += (number: inout SequenceNumber, count: Int) {
    number = number + count
  }

  /// The signed distance from `right` to `left`: -2³¹ to 2³¹ - 1.
  static func - (left: SequenceNumber, right: SequenceNumber) -> Int {
    Int(Int32(bitPattern: left.value &- right.value))
  }

  static func < (left: SequenceNumber, right: SequenceNumber) -> Bool { left - right < 0 }
  static func <= (left: SequenceNumber, right: SequenceNumber) -> Bool { left - right <= 0 }
  static func > (left: SequenceNumber, right: SequenceNumber) -> Bool { left - right > 0 }
  static func >= (left: SequenceNumber, right: SequenceNumber) -> Bool { left - right >= 0 }

  static func later(_ left: SequenceNumber, _ right: SequenceNumber) -> SequenceNumber {
    left > right ? left : right
  }

  static func earlier(_ left: SequenceNumber, _ right: SequenceNumber) -> SequenceNumber {
    left < right ? left : right
  }
}
