import Packet
import Primitives

/// SipHash-2-4 over 64-bit words (Aumasson and Bernstein, 2012): a keyed hash for short inputs.
struct SipHash {
  private var v0, v1, v2, v3: UInt64
  private var length: UInt64 = 0

  init(key: (UInt64, UInt64)) {
    v0 = key.0 ^ 0x736f_6d65_7073_6575
    v1 = key.1 ^ 0x646f_7261_6e64_6f6d
    v2 = key.0 ^ 0x6c79_6765_6e65_7261
    v3 = key.1 ^ 0x7465_6462_7974_6573
  }

  mutating func combine(_ word: UInt64) {
    length &+= 8
    compress(word)
  }

  /// Ends the message behind `tail`, its last 0 to 7 bytes in little-endian order.
  consuming func finalize(tail: UInt64 = 0, tailBytes: Int = 0) -> UInt64 {
    compress((length &+ UInt64(tailBytes)) << 56 | tail)
    v2 ^= 0xFF
    for _ in 0..<4 { round() }
    return v0 ^ v1 ^ v2 ^ v3
  }

  private mutating func compress(_ word: UInt64) {
    v3 ^= word
    round()
    round()
    v0 ^= word
  }

  private mutating func round() {
    v0 = v0 &+ v1
    v1 = rotate(v1, 13) ^ v0
    v0 = rotate(v0, 32)
    v2 = v2 &+ v3
    v3 = rotate(v3, 16) ^ v2
    v0 = v0 &+ v3
    v3 = rotate(v3, 21) ^ v0
    v2 = v2 &+ v1
    v1 = rotate(v1, 17) ^ v2
    v2 = rotate(v2, 32)
  }

  private func rotate(_ word: UInt64, _ count: UInt64) -> UInt64 {
    word << count | word >> (64 - count)
  }
}

/// Numbers that an outsider can't guess, derived from the flow's addresses and a secret.
struct InitialSequence {
  let secret: (UInt64, UInt64)

  /// ISN = M + F(localip, localport, remoteip, remoteport, secretkey), M ticking every 4 µs (RFC 6528 section 3).
  func number(for tuple: FiveTuple, now: Instant) -> SequenceNumber {
    let ticks = UInt64(bitPattern: now.nanoseconds) / 4000
    return SequenceNumber(UInt32(truncatingIfNeeded: ticks &+ hash(tuple, purpose: 1)))
  }

  /// What is added to the clock of a flow's timestamps, so that they tell nothing about the machine
  /// (RFC 7323 section 7.1).
  func timestampOffset(for tuple: FiveTuple) -> UInt32 {
    UInt32(truncatingIfNeeded: hash(tuple, purpose: 2))
  }

  /// The start of the identifications of fragments between two addresses (RFC 7739 section 5.3).
  func fragmentIdentification(from source: IPAddress, to destination: IPAddress) -> UInt32 {
    let tuple = FiveTuple(
      protocol: .udp, source: Endpoint(source, 0), destination: Endpoint(destination, 0))
    return UInt32(truncatingIfNeeded: hash(tuple, purpose: 3))
  }

  private func hash(_ tuple: FiveTuple, purpose: UInt64) -> UInt64 {
    var hash = SipHash(key: secret)
    for address in [tuple.source.address.value, tuple.destination.address.value] {
      hash.combine(UInt64(truncatingIfNeeded: address))
      hash.combine(UInt64(truncatingIfNeeded: address >> 64))
    }
    hash.combine(UInt64(tuple.source.port) << 48 | UInt64(tuple.destination.port) << 32 | purpose)
    return hash.finalize()
  }
}
