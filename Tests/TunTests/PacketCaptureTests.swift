import CLinux
import Glibc
import Kernel
import Packet
import Primitives
import Testing

@testable import Tun

@Suite(.enabled(if: NetworkSandbox.isAvailable, NetworkSandbox.reason))
struct PacketCaptureTests {
  private static func next(_ capture: inout PacketCapture, _ pool: inout SlabPool) throws -> (
    [UInt8], PacketCapture.Packet
  )? {
    var lane = SlabLane()
    for _ in 0..<100 {
      guard let region = pool.reserve(2048, in: &lane) else { return nil }
      if let packet = try capture.next(into: region, pool: &pool) { return (pool.array(packet.slice), packet) }
      guard let descriptor = capture.descriptor, clinux_poll_one(descriptor, Int16(POLLIN), 1000) > 0 else {
        return nil
      }
    }
    return nil
  }

  @Test func `a filtered capture sees what the filter lets through`() throws {
    let (linkType, bytes, time, original) = try NetworkSandbox.run {
      var bench = Bench(try TunDevice(opening: TunConfiguration(name: "cap0")))
      try TunDeviceTests.configure(bench.device)
      var capture = try PacketCapture(
        PacketCapture.Configuration(interface: "cap0", filter: "udp dst port 53", snapLength: 40))
      var pool = SlabPool()
      for port in [52, 53] as [UInt16] {
        let packet = TestPacket.udp(
          from: Endpoint(TunDeviceTests.peer, 9), to: Endpoint(TunDeviceTests.host, port), payload: [[UInt8](1...20)])
        try need(try bench.write(packet) == .written, "not written")
      }
      guard let (bytes, packet) = try Self.next(&capture, &pool) else { throw Unmet(what: "nothing captured") }
      return (capture.linkType, bytes, packet.nanoseconds, packet.originalCount)
    }
    #expect(linkType == .raw)
    #expect(bytes.count == 40)
    #expect(original == 48)
    #expect(bytes[22] == 0 && bytes[23] == 53)
    #expect(abs(time - Clock.unixNanoseconds) < 60_000_000_000)
  }

  @Test func `an injected frame arrives at the device as it is`() throws {
    let frame: [UInt8] = [UInt8](repeating: 0xFF, count: 6) + [2, 0, 0, 0, 0, 9, 0x88, 0xB5] + [UInt8](1...50)
    let arrived = try NetworkSandbox.run {
      var bench = Bench(try TunDevice(opening: TunConfiguration(kind: .tap, name: "cap0")))
      try TunDeviceTests.configure(bench.device)
      var capture = try PacketCapture(PacketCapture.Configuration(interface: "cap0"))
      try capture.inject(frame.span)
      while let (bytes, _) = try bench.next() {
        if bytes == frame { return true }
      }
      return false
    }
    #expect(arrived)
  }

  @Test func `an unknown interface and a bad filter are errors`() throws {
    let unknown = #expect(throws: TunError.self) {
      let capture = try PacketCapture(PacketCapture.Configuration(interface: "nosuch0"))
      _ = capture.interface
    }
    #expect(unknown?.device == "nosuch0")
    let bad = #expect(throws: TunError.self) {
      let capture = try PacketCapture(PacketCapture.Configuration(interface: "lo", filter: "no filter"))
      _ = capture.interface
    }
    #expect(bad?.call == "pcap_compile")
  }
}
