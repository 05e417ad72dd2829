import Packet
import Primitives
import Stack

/// A line for packets that delays, loses, doubles, reorders and changes them, as its plan and its seed say.
///
/// It completes checksums as a device does, so that each packet says of itself whether it is as it was sent.
struct FaultyLink {
  struct Packet {
    var bytes: [UInt8]
    var offload: Offload
  }

  let plan: LinkPlan
  private var lastDue = Instant.zero
  private(set) var lost = 0

  init(_ plan: LinkPlan) {
    self.plan = plan
  }

  /// What becomes of a packet: when each copy of it arrives, and how.
  mutating func carry(_ packet: Packet, _ network: inout Network, _ arrive: (inout Network, Packet, Instant) -> Void)
    -> String
  {
    guard !network.random.chance(plan.loss) else {
      lost += 1
      return "lost"
    }
    var fate = ""
    let copies = network.random.chance(plan.duplication) ? 2 : 1
    if copies == 2 { fate = "doubled" }
    for _ in 0..<copies {
      var packet = packet
      if network.random.chance(plan.corruption), !packet.bytes.isEmpty {
        // One byte: a change that the checksum can't miss.
        let position = Int.random(in: 0..<packet.bytes.count, using: &network.random)
        packet.bytes[position] ^= UInt8.random(in: 1...255, using: &network.random)
        fate += " corrupted"
      }
      let jitter = Int64(network.random.next() % UInt64(max(1, plan.jitter.nanoseconds)))
      var due = network.now + plan.latency + Interval(nanoseconds: jitter)
      if network.random.chance(plan.reordering) {
        due = due + Interval(nanoseconds: Int64(network.random.next() % UInt64(10 * plan.latency.nanoseconds)))
        fate += " late"
      } else {
        due = max(due, lastDue)
        lastDue = due
      }
      arrive(&network, packet, due)
    }
    return fate
  }

  /// A packet in one piece, with the checksum that it left to the device.
  static func join(_ transmit: borrowing Transmit, pool: borrowing SlabPool) -> Packet {
    var bytes: [UInt8] = []
    bytes.reserveCapacity(transmit.count)
    transmit.withHeader { header in unsafe header.withUnsafeBufferPointer { unsafe bytes.append(contentsOf: $0) } }
    for slice in transmit.payload {
      pool.withSpan(slice) { part in unsafe part.withUnsafeBufferPointer { unsafe bytes.append(contentsOf: $0) } }
    }
    var offload = transmit.offload
    if case .partial(let start, let offset) = offload.checksum {
      let sum = Checksum.of(bytes.span.extracting(start..<bytes.count))
      bytes[start + offset] = UInt8(sum >> 8)
      bytes[start + offset + 1] = UInt8(truncatingIfNeeded: sum)
      offload.checksum = .complete
    }
    return Packet(bytes: bytes, offload: offload)
  }
}
