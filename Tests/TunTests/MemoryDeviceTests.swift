import CLinux
import Glibc
import Kernel
import Packet
import Primitives
import Synchronization
import Testing

@testable import Tun

/// A datagram whose payload tells which one it is.
func numbered(_ number: Int, size: Int = 40) -> TestPacket {
  TestPacket.udp(
    from: Endpoint(IPAddress(10, 0, 0, 1), 1), to: Endpoint(IPAddress(10, 0, 0, 2), 2),
    payload: [[UInt8(truncatingIfNeeded: number), UInt8(truncatingIfNeeded: number >> 8)]]
      + [[UInt8](repeating: 7, count: size)])
}

@Suite struct MemoryDeviceTests {
  @Test func `what is written to a loopback comes back whole and in order`() throws {
    var bench = Bench(LoopbackDevice())
    for number in 0..<50 { #expect(try bench.write(numbered(number)) == .written) }
    for number in 0..<50 {
      let packet = try #require(try bench.next())
      #expect(packet.bytes == numbered(number).bytes)
      #expect(packet.offload == numbered(number).offload)
    }
    #expect(try bench.next() == nil)
    #expect(bench.device.counters.packetsRead == 50 && bench.device.counters.packetsWritten == 50)
  }

  @Test func `a full loopback drops and counts`() throws {
    var bench = Bench(LoopbackDevice(packetLimit: 2))
    #expect(try bench.write(numbered(0)) == .written)
    #expect(try bench.write(numbered(1)) == .written)
    #expect(try bench.write(numbered(2)) == .dropped(.full))
    #expect(bench.device.counters.droppedFull == 1)
  }

  @Test func `a ring of bytes behaves like a list of arrays`() throws {
    var random = SeededRandom(seed: 21)
    var pool = SlabPool()
    var lane = SlabLane()
    var queue = PacketQueue(capacity: 0, packetLimit: 64)
    var model: [[UInt8]] = []
    var full = 0
    let region = try #require(pool.reserve(PacketLimits.size, in: &lane))
    let whole = pool.commit(region, count: region.count, in: &lane)
    for round in 0..<20_000 {
      if random.chance(0.52) {
        let bytes = [UInt8](repeating: UInt8(truncatingIfNeeded: round), count: Int(random.next() % 9000) + 1)
        let fits = queue.append(.none, header: bytes.span, payload: Span(), pool: pool)
        if fits { model.append(bytes) } else { full += 1 }
      } else {
        let popped = queue.popFirst(into: whole, pool: pool)
        let expected = model.isEmpty ? nil : model.removeFirst()
        #expect(popped.map { pool.array($0.slice) } == expected)
      }
    }
    #expect(full > 0)
  }

  @Test func `two ends of a wire exchange packets and wake each other`() throws {
    let near = try MemoryDevice()
    var far = Bench(near.peer())
    var bench = Bench(near)
    let found = far.device.descriptor
    let descriptor = try #require(found)
    #expect(clinux_poll_one(descriptor, Int16(POLLIN), 0) == 0)
    #expect(try bench.write(numbered(1)) == .written)
    #expect(try bench.write(numbered(2)) == .written)
    #expect(clinux_poll_one(descriptor, Int16(POLLIN), 0) == 1)
    #expect(try far.next()?.bytes == numbered(1).bytes)
    #expect(try far.next()?.bytes == numbered(2).bytes)
    #expect(clinux_poll_one(descriptor, Int16(POLLIN), 0) == 0)
    #expect(try far.write(numbered(3)) == .written)
    #expect(try bench.next()?.bytes == numbered(3).bytes)
  }

  @Test func `the ends may belong to two threads`() throws {
    let near = try MemoryDevice(packetLimit: 5000)
    let far = Handover(near.peer())
    let thread = try Thread(name: "far end") {
      var bench = Bench(far.take())
      for _ in 0..<2000 {
        guard let packet = try? bench.next() else { return }
        _ = try? bench.write(TestPacket(header: packet.bytes, payload: [], offload: packet.offload))
      }
    }
    var bench = Bench(near)
    for number in 0..<2000 { #expect(try bench.write(numbered(number)) == .written) }
    for number in 0..<2000 { #expect(try bench.next()?.bytes == numbered(number).bytes) }
    thread.join()
  }
}

/// Carries a device to a thread.
private final class Handover: Sendable {
  private let device: Mutex<MemoryDevice?>

  init(_ device: consuming sending MemoryDevice) {
    self.device = Mutex(device)
  }

  func take() -> MemoryDevice {
    device.withLock { $0.take() }!
  }
}
