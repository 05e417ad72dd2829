import Primitives

/// The bytes of every stream, by position: so that a receiver can tell a byte that is missing, doubled or moved without
/// anybody having kept what was sent.
enum Pattern {
  /// Random bytes, twice in a row: a run that begins in the first half needs no wrapping.
  private static let table: [UInt8] = {
    var random = SeededRandom(seed: 0x5EED)
    let half = (0..<65_536).map { _ in UInt8.random(in: 0...255, using: &random) }
    return half + half
  }()

  /// Where the bytes from `position` on stand, and how many of them follow each other. Every 64 KiB begin elsewhere, so
  /// that no block of a stream is like another.
  private static func run(_ key: Int, _ position: Int, _ count: Int) -> Range<Int> {
    let block = position >> 16
    let start = (position & 0xFFFF) + key &* 40_503 + block &* 7919
    let length = min(count, (block + 1) << 16 - position)
    let place = start & 0xFFFF
    return place..<place + length
  }

  /// Writes the bytes of a stream from `position` on.
  static func write(_ key: Int, from position: Int, into bytes: inout MutableSpan<UInt8>) {
    var done = 0
    let count = bytes.count
    while done < count {
      let run = run(key, position + done, count - done)
      let source = table.span.extracting(run)
      unsafe bytes.withUnsafeMutableBytes { target in
        unsafe source.withUnsafeBytes {
          unsafe (target.baseAddress! + done).copyMemory(from: $0.baseAddress!, byteCount: $0.count)
        }
      }
      done += run.count
    }
  }

  /// How many of the bytes are those of a stream from `position` on.
  static func matching(_ key: Int, from position: Int, _ bytes: Span<UInt8>) -> Int {
    var done = 0
    while done < bytes.count {
      let run = run(key, position + done, bytes.count - done)
      for index in run.indices where table[index] != bytes[done + index - run.lowerBound] {
        return done + index - run.lowerBound
      }
      done += run.count
    }
    return done
  }
}
