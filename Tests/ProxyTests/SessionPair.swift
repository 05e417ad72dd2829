import Crypto
import Framing
import Primitives

@testable import Proxy

/// Two sessions joined by a byte stream that cuts its bytes anywhere, in virtual time.
struct SessionPair: ~Copyable {
  var pool = SlabPool(limit: 512)
  var link: Session
  var site: Session
  var random: SeededRandom
  var now = Instant(nanoseconds: 1_000_000_000)
  var linkOutput = SliceQueue()
  var siteOutput = SliceQueue()
  var lane = SlabLane()
  /// Changes bytes on their way to the site, if set.
  var tamper: ((inout [UInt8]) -> Void)?

  /// - Parameter linkLimits: if the link's are others than the site's.
  init(seed: UInt64, limits: SessionLimits = SessionLimits(), linkLimits: SessionLimits? = nil) throws {
    let first = try SecretBytes(random: 32)
    let second = try SecretBytes(random: 32)
    let start = Instant(nanoseconds: 1_000_000_000)
    let link = try Session(
      role: .link, secrets: RecordSecrets(send: first, receive: second), limits: linkLimits ?? limits, now: start)
    let site = try Session(
      role: .site, secrets: RecordSecrets(send: second, receive: first), limits: limits, now: start)
    random = SeededRandom(seed: seed)
    self.link = link
    self.site = site
  }

  /// A slice of payload in the pool, which the caller owns.
  mutating func slice(_ bytes: [UInt8]) -> Slice {
    pool.copy(bytes.span, in: &lane)!
  }

  /// Carries what waits in both directions, once; returns how many bytes moved.
  mutating func exchange() throws(SessionError) -> Int {
    try link.fill(&linkOutput, limit: 256 * 1024, pool: &pool, now: now)
    var moved = 0
    while !linkOutput.isEmpty {
      var bytes = Self.take(&linkOutput, &pool, atMost: 1 + Int(random.next() % 100_000))
      tamper?(&bytes)
      moved += bytes.count
      try Self.deliver(bytes, to: &site, pool: &pool, now: now)
    }
    try site.fill(&siteOutput, limit: 256 * 1024, pool: &pool, now: now)
    while !siteOutput.isEmpty {
      let bytes = Self.take(&siteOutput, &pool, atMost: 1 + Int(random.next() % 100_000))
      moved += bytes.count
      try Self.deliver(bytes, to: &link, pool: &pool, now: now)
    }
    now = now + .milliseconds(1)
    return moved
  }

  /// Lets both ends measure how far away the other is, as they do when they begin.
  mutating func settle(distance: Interval = .zero) throws(SessionError) {
    for _ in 0...Liveness.firstSamples {
      now = now + distance
      _ = try exchange()
    }
  }

  private static func take(_ queue: inout SliceQueue, _ pool: inout SlabPool, atMost limit: Int) -> [UInt8] {
    var bytes: [UInt8] = []
    while bytes.count < limit, !queue.isEmpty {
      let slice = queue[0]
      let count = min(limit - bytes.count, slice.count)
      bytes += pool.array(slice.prefix(count))
      queue.drop(count, pool: &pool)
    }
    return bytes
  }

  static func deliver(
    _ bytes: [UInt8], to session: inout Session, pool: inout SlabPool, now: Instant
  ) throws(SessionError) {
    var start = 0
    while start < bytes.count {
      guard let target = session.readTarget(pool: &pool) else { throw .misuse("pool exhausted") }
      let count = min(bytes.count - start, target.count)
      let head = min(count, target.first.count)
      write(bytes[start..<start + head], to: target.first, pool: &pool)
      if let second = target.second { write(bytes[(start + head)..<(start + count)], to: second, pool: &pool) }
      try session.received(count, in: target, pool: &pool, now: now)
      start += count
    }
  }

  private static func write(_ bytes: ArraySlice<UInt8>, to slice: Slice, pool: inout SlabPool) {
    unsafe bytes.withUnsafeBytes { source in
      if let start = source.baseAddress {
        unsafe pool.pointer(to: slice).copyMemory(from: start, byteCount: source.count)
      }
    }
  }

  mutating func close() -> Int {
    link.close(pool: &pool)
    site.close(pool: &pool)
    linkOutput.removeAll(pool: &pool)
    siteOutput.removeAll(pool: &pool)
    pool.close(&lane)
    return pool.slabsInUse
  }
}
