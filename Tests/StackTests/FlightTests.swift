import Primitives
import Testing

@testable import Stack

@Suite struct FlightTests {
  /// One byte as the twin sees it.
  private struct Byte: Equatable {
    var fate = Flight.Fate.sent
    var sentAt: Int64
    var isRetransmitted = false
  }

  private func bytes(_ flight: Flight, from base: SequenceNumber) -> [Int: Byte] {
    var bytes: [Int: Byte] = [:]
    for index in 0..<flight.count {
      let piece = flight[index]
      for position in (piece.start - base)..<(piece.end - base) {
        bytes[position] = Byte(
          fate: piece.fate, sentAt: piece.sentAt.nanoseconds, isRetransmitted: piece.isRetransmitted)
      }
    }
    return bytes
  }

  @Test func followsItsTwin() {
    for seed in UInt64(0)..<100 {
      var random = SeededRandom(seed: seed)
      let base = SequenceNumber(UInt32(truncatingIfNeeded: random.next()))
      var flight = Flight()
      var twin: [Int: Byte] = [:]
      var (una, nxt, now) = (0, 0, Int64(0))
      for _ in 0..<60 {
        now += Int64(random.next() % 2)
        var delivery = Delivery()
        let start = una + (nxt > una ? Int(random.next() % UInt64(nxt - una)) : 0)
        let end = min(nxt, start + 1 + Int(random.next() % 30))
        switch random.next() % 6 {
        case 0, 1:
          let count = 1 + Int(random.next() % 40)
          flight.append(base + nxt, base + nxt + count, at: Instant(nanoseconds: now))
          for index in nxt..<(nxt + count) { twin[index] = Byte(sentAt: now) }
          nxt += count
        case 2 where end > start:
          flight.hold(base + start, base + end, delivery: &delivery)
          let new = (start..<end).filter { twin[$0]?.fate != .held }
          #expect(delivery.bytes == new.count, "seed \(seed)")
          #expect(
            delivery.newest?.sentAt.nanoseconds == new.compactMap { twin[$0]?.sentAt }.max(), "seed \(seed)")
          for index in new { twin[index]?.fate = .held }
        case 3 where flight.count > 0:
          let index = Int(random.next() % UInt64(flight.count))
          guard flight[index].fate == .sent else { break }
          let piece = flight[index]
          flight.lose(at: index)
          for position in (piece.start - base)..<(piece.end - base) { twin[position]?.fate = .lost }
        case 4:
          guard let lost = flight.firstLost else { break }
          #expect(lost.start - base == twin.filter { $0.value.fate == .lost }.keys.min(), "seed \(seed)")
          let count = min(lost.count, 1 + Int(random.next() % 20))
          flight.resent(lost.start, lost.start + count, at: Instant(nanoseconds: now))
          for position in (lost.start - base)..<(lost.start - base + count) {
            twin[position] = Byte(sentAt: now, isRetransmitted: true)
          }
        case 5 where nxt > una:
          let number = una + Int(random.next() % UInt64(min(nxt - una, 25) + 1))
          flight.acknowledge(base + number, delivery: &delivery)
          let new = (una..<number).filter { twin[$0]?.fate != .held }
          #expect(delivery.bytes == new.count, "seed \(seed)")
          let once = new.filter { twin[$0]?.isRetransmitted == false }
          #expect(delivery.sentOnceAt?.nanoseconds == once.compactMap { twin[$0]?.sentAt }.max(), "seed \(seed)")
          for index in una..<number { twin[index] = nil }
          una = number
        default: break
        }
        let seen = bytes(flight, from: base)
        // When something that was held or lost was sent is of no interest any more.
        #expect(seen.mapValues(\.fate) == twin.mapValues(\.fate), "seed \(seed)")
        #expect(seen.filter { $0.value.fate == .sent } == twin.filter { $0.value.fate == .sent }, "seed \(seed)")
        #expect(flight.heldBytes == twin.count { $0.value.fate == .held }, "seed \(seed)")
        #expect(flight.lostBytes == twin.count { $0.value.fate == .lost }, "seed \(seed)")
      }
      flight.loseAll(isForgetful: false)
      #expect(flight.lostBytes + flight.heldBytes == nxt - una)
      flight.loseAll(isForgetful: true)
      #expect(flight.lostBytes == nxt - una && flight.count == (nxt > una ? 1 : 0))
      flight.reviveAll()
      #expect(flight.lostBytes == 0 && flight.heldBytes == 0)
    }
  }

  /// A burst is one piece, whatever its segments; and a peer that reports every other byte makes no more than the limit.
  @Test func staysWithinItsBound() {
    var flight = Flight()
    let base = SequenceNumber(.max - 100)
    for index in 0..<4000 { flight.append(base + index * 2, base + index * 2 + 2, at: .zero) }
    #expect(flight.count == 1)
    var delivery = Delivery()
    for index in 0..<4000 { flight.hold(base + index * 2, base + index * 2 + 1, delivery: &delivery) }
    #expect(flight.count <= Flight.limit && flight.heldBytes > 200 && delivery.bytes == flight.heldBytes)
    for index in 0..<2000 {
      flight.append(
        base + 8000 + index, base + 8000 + index + 1, at: Instant(nanoseconds: Int64(index)))
    }
    #expect(flight.count <= Flight.limit + 1)
    for index in 0..<flight.count where flight[index].fate == .sent { flight.lose(at: index) }
    while let lost = flight.firstLost { flight.resent(lost.start, lost.start + 1, at: Instant(nanoseconds: 1)) }
    #expect(flight.count <= 2 * Flight.limit && flight.lostBytes == 0)
  }
}
