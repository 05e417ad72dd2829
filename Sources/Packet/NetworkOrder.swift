// Field access in network byte order. Each call is checked once against the span's end; the load or store
// behind that check is unchecked, because a second check per byte keeps the compiler from using one instruction.

extension Span where Element == UInt8 {
  @inline(__always) func load<Value: FixedWidthInteger & BitwiseCopyable>(_ offset: Int, as type: Value.Type) -> Value {
    precondition(offset >= 0 && offset <= count &- MemoryLayout<Value>.size, "field outside of the header")
    return unsafe Value(bigEndian: bytes.unsafeLoadUnaligned(fromUncheckedByteOffset: offset, as: type))
  }

  @inline(__always) func load16(_ offset: Int) -> UInt16 { load(offset, as: UInt16.self) }
  @inline(__always) func load32(_ offset: Int) -> UInt32 { load(offset, as: UInt32.self) }
}

extension MutableSpan where Element == UInt8 {
  @inline(__always) mutating func store<Value: FixedWidthInteger & BitwiseCopyable>(_ value: Value, at offset: Int) {
    precondition(offset >= 0 && offset <= count &- MemoryLayout<Value>.size, "no room for the field")
    var raw = unsafe mutableBytes
    unsafe raw.storeBytes(of: value.bigEndian, toUncheckedByteOffset: offset, as: Value.self)
  }
}
