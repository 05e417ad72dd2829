import Packet
import Primitives

/// How often a packet suffers which fault: probabilities from 0 to 1.
public struct FaultRates: Hashable, Sendable {
  public var loss: Double
  /// One bit of the packet is flipped.
  public var corruption: Double
  public var duplication: Double
  /// The packet changes places with the next one.
  public var reordering: Double

  public init(loss: Double = 0, corruption: Double = 0, duplication: Double = 0, reordering: Double = 0) {
    self.loss = loss
    self.corruption = corruption
    self.duplication = duplication
    self.reordering = reordering
  }

  public static let none = FaultRates()
}

/// The faults that were injected.
public struct FaultCounters: Hashable, Sendable {
  public var lost: UInt64 = 0
  public var corrupted: UInt64 = 0
  public var duplicated: UInt64 = 0
  public var reordered: UInt64 = 0

  @inlinable init() {}
}

/// Wraps a device and mistreats its packets. The same seed and the same calls give the same faults.
public struct FaultInjector<Inner: PacketDevice & ~Copyable>: ~Copyable, PacketDevice {
  public var inner: Inner
  public var reading: FaultRates
  public var writing: FaultRates
  public private(set) var faults = FaultCounters()

  private var random: SeededRandom
  private var heldFromReading = PacketQueue(capacity: 3 * PacketLimits.size, packetLimit: 2)
  private var isReadDue = false
  private var heldFromWriting = PacketQueue(capacity: 2 * PacketLimits.size, packetLimit: 1)
  private var lane = SlabLane()

  public init(
    _ inner: consuming Inner, seed: UInt64, reading: FaultRates = .none, writing: FaultRates = .none
  ) {
    self.inner = inner
    self.reading = reading
    self.writing = writing
    random = SeededRandom(seed: seed)
  }

  public var descriptor: CInt? { inner.descriptor }
  public var counters: DeviceCounters { inner.counters }

  /// Gives back the memory of the pool that copies of packets were made in.
  public mutating func close(pool: inout SlabPool) {
    pool.close(&lane)
  }

  // MARK: Reading

  public mutating func read(into slice: Slice, pool: inout SlabPool) throws(TunError) -> PacketRead {
    while true {
      if isReadDue, let held = popHeld(into: slice, pool: pool) { return held }
      let packet: Slice
      let offload: Offload
      switch try inner.read(into: slice, pool: &pool) {
      case .packet(let found, let its): (packet, offload) = (found, its)
      case .dropped: return .dropped
      case .wouldBlock:
        // Nothing is left to change places with.
        try flush(pool: &pool)
        return popHeld(into: slice, pool: pool) ?? .wouldBlock
      }
      if random.chance(reading.loss) {
        faults.lost &+= 1
        return .dropped
      }
      if random.chance(reading.corruption) { corrupt(packet, pool: &pool) }
      let isDuplicated = random.chance(reading.duplication)
      let isReordered = random.chance(reading.reordering)
      if isDuplicated, hold(packet, offload, pool: pool) {
        faults.duplicated &+= 1
      } else if isReordered, heldFromReading.isEmpty, hold(packet, offload, pool: pool) {
        faults.reordered &+= 1
        continue
      }
      isReadDue = !heldFromReading.isEmpty
      return .packet(packet, offload)
    }
  }

  private mutating func hold(_ packet: Slice, _ offload: Offload, pool: borrowing SlabPool) -> Bool {
    pool.withSpan(packet) { heldFromReading.append(offload, header: $0, payload: Span(), pool: pool) }
  }

  private mutating func popHeld(into slice: Slice, pool: borrowing SlabPool) -> PacketRead? {
    guard let held = heldFromReading.popFirst(into: slice, pool: pool) else { return nil }
    isReadDue = !heldFromReading.isEmpty
    return .packet(held.slice, held.offload)
  }

  private mutating func corrupt(_ packet: Slice, pool: inout SlabPool) {
    guard !packet.isEmpty else { return }
    let index = Int(random.next() % UInt64(packet.count))
    let bit = UInt8(1) << UInt8(random.next() % 8)
    pool.withMutableSpan(packet) { $0[index] ^= bit }
    faults.corrupted &+= 1
  }

  // MARK: Writing

  public mutating func write(
    _ offload: Offload, header: Span<UInt8>, payload: Span<Slice>, pool: inout SlabPool
  ) throws(TunError) -> PacketWrite {
    if random.chance(writing.loss) {
      faults.lost &+= 1
      return .dropped(.injected)
    }
    let isCorrupted = random.chance(writing.corruption)
    let isDuplicated = random.chance(writing.duplication)
    if random.chance(writing.reordering), heldFromWriting.isEmpty, !isCorrupted,
      heldFromWriting.append(offload, header: header, payload: payload, pool: pool)
    {
      faults.reordered &+= 1
      return .written
    }
    var result = PacketWrite.written
    if isCorrupted {
      // Payload is shared with whoever may send it again: a copy is damaged, never the original.
      try flush(pool: &pool)
      guard heldFromWriting.append(offload, header: header, payload: payload, pool: pool) else {
        return .dropped(.malformed)
      }
      result = try writeFirst(corrupting: true, pool: &pool)
    } else {
      result = try inner.write(offload, header: header, payload: payload, pool: &pool)
    }
    if isDuplicated {
      faults.duplicated &+= 1
      _ = try inner.write(offload, header: header, payload: payload, pool: &pool)
    }
    try flush(pool: &pool)
    return result
  }

  /// Writes a packet that waits to change places with a later one.
  public mutating func flush(pool: inout SlabPool) throws(TunError) {
    guard !heldFromWriting.isEmpty else { return }
    _ = try writeFirst(corrupting: false, pool: &pool)
  }

  /// Writes the packet that is held, from a copy in the pool.
  private mutating func writeFirst(corrupting: Bool, pool: inout SlabPool) throws(TunError) -> PacketWrite {
    guard let region = pool.reserve(PacketLimits.size, in: &lane) else { return .dropped(.full) }
    guard let packet = heldFromWriting.popFirst(into: region, pool: pool) else { return .written }
    let whole = pool.commit(region, count: packet.slice.count, in: &lane)
    defer { pool.release(whole) }
    if corrupting { corrupt(whole, pool: &pool) }
    let header = pool.array(whole.prefix(packet.headerCount))
    let payload = [whole.dropping(packet.headerCount)]
    return try inner.write(packet.offload, header: header.span, payload: payload.span, pool: &pool)
  }
}

extension FaultInjector: Sendable where Inner: Sendable & ~Copyable {}
