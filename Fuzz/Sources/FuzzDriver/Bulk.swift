import Glibc

/// Many executions instead of clever ones: inputs of a corpus, changed at random, without libFuzzer's looking after each
/// of them. For programs that were built without its counters; see `make fuzz-bulk`.
enum Bulk {
  /// Where the present input lies, for whoever ends the process. It ends where the memory ends, so that
  /// AddressSanitizer finds whoever reads on.
  nonisolated(unsafe) private static var present = UnsafeBufferPointer<UInt8>(start: nil, count: 0)
  nonisolated(unsafe) private static var folder = ""

  /// - Parameters:
  ///   - inputs: at least one.
  ///   - limit: bytes of the largest input.
  static func run(
    _ target: (UnsafeBufferPointer<UInt8>) -> Void, inputs: [[UInt8]], seconds: Int, limit: Int, seed: UInt64,
    artifacts: String
  ) {
    folder = artifacts
    for number in [SIGILL, SIGTRAP, SIGABRT, SIGSEGV, SIGBUS] { signal(number) { Bulk.keep($0) } }
    #if ADDRESS_SANITIZER
      setDeathCallback { Bulk.keep(0) }
    #endif
    let memory = UnsafeMutableBufferPointer<UInt8>.allocate(capacity: limit)
    var random = seed | 1
    var executions = 0
    let end = time(nil) + seconds
    while executions & 0x3FF != 0 || time(nil) < end {
      executions += 1
      let input = inputs[next(&random, below: inputs.count)]
      let other = inputs[next(&random, below: inputs.count)]
      let count = change(input, other, memory, &random)
      present = UnsafeBufferPointer(rebasing: memory[(limit - count)...])
      target(present)
    }
    print("\(executions) executions in \(seconds) s")
  }

  @inline(__always)
  private static func next(_ random: inout UInt64, below limit: Int) -> Int {
    random ^= random << 13
    random ^= random >> 7
    random ^= random << 17
    return Int(truncatingIfNeeded: (UInt64(UInt32(truncatingIfNeeded: random >> 16)) &* UInt64(limit)) >> 32)
  }

  /// Puts a changed input at the memory's end.
  ///
  /// - Returns: its bytes.
  private static func change(
    _ input: [UInt8], _ other: [UInt8], _ memory: UnsafeMutableBufferPointer<UInt8>, _ random: inout UInt64
  ) -> Int {
    let limit = memory.count
    // A cut end, or a piece of another one behind.
    var kept = min(input.count, limit)
    var added = 0
    switch next(&random, below: 8) {
    case 0: kept = next(&random, below: kept + 1)
    case 1: added = min(next(&random, below: other.count + 1), limit - kept)
    case 2:
      kept = next(&random, below: kept + 1)
      added = min(next(&random, below: other.count + 1), limit - kept)
    default: break
    }
    let count = kept + added
    guard count > 0 else { return 0 }
    let start = memory.baseAddress! + (limit - count)
    input.withUnsafeBufferPointer { if kept > 0 { memcpy(start, $0.baseAddress!, kept) } }
    other.withUnsafeBufferPointer {
      if added > 0 { memcpy(start + kept, $0.baseAddress! + (other.count - added), added) }
    }
    for _ in 0...next(&random, below: 4) {
      let place = next(&random, below: count)
      switch next(&random, below: 4) {
      case 0: start[place] ^= 1 << UInt8(next(&random, below: 8))
      case 1: start[place] = UInt8(next(&random, below: 256))
      case 2: start[place] = [0, 1, 0x7F, 0x80, 0xFF, 4, 6, 16][next(&random, below: 8)]
      default: start[place] = start[next(&random, below: count)]
      }
    }
    return count
  }

  /// Writes the present input to a file.
  private static func keep(_ number: CInt) {
    let file = open(folder + "/bulk-\(getpid())", O_CREAT | O_WRONLY | O_TRUNC, 0o644)
    if let start = present.baseAddress { _ = Glibc.write(file, start, present.count) }
    close(file)
    if number != 0 { _exit(99) }
  }
}

#if ADDRESS_SANITIZER
  @_silgen_name("__sanitizer_set_death_callback")
  private func setDeathCallback(_ callback: @convention(c) () -> Void)
#endif
