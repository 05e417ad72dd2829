import CLinux
import Glibc
import Kernel
import Packet
import Primitives
import Testing

@testable import Tun

@Suite struct PcapngWriterTests {
  private static var hasTools: Bool {
    unsafe access("/usr/bin/tshark", X_OK) == 0 && access("/usr/bin/capinfos", X_OK) == 0
  }
  private static let reason: Comment = "needs tshark and capinfos"

  private static let v4 = (Endpoint(IPAddress(10, 0, 0, 1), 1000), Endpoint(IPAddress(10, 0, 0, 2), 2000))

  /// The little-endian words of a block, and how long it is.
  private func words(_ bytes: [UInt8], at position: Int) -> [UInt32] {
    let word = { (offset: Int) in (0..<4).reduce(UInt32(0)) { $0 | UInt32(bytes[offset + $1]) << UInt32(8 * $1) } }
    let length = Int(word(position + 4))
    return stride(from: position, to: position + length, by: 4).map(word)
  }

  /// What `body` writes.
  private func capture(
    snapLength: Int = PacketLimits.size, _ body: (inout PcapngWriter, inout SlabPool) throws -> Void
  ) throws -> [UInt8] {
    try TemporaryFile.with { file in
      var pool = SlabPool()
      do {
        var writer = PcapngWriter(
          to: try file.open(), linkType: .raw, interface: "relay0", snapLength: snapLength)
        try body(&writer, &pool)
        writer.flush()
        #expect(writer.failure == nil)
      }
      return try file.bytes()
    }
  }

  @Test func `blocks have the layout of the format`() throws {
    let bytes = try capture { writer, pool in
      writer.write(
        header: [0x45, 2, 3, 4, 5].span, pool: pool, at: 0x0102_0304_0506_0708, direction: .inbound, comment: "why")
    }
    let section = words(bytes, at: 0)
    #expect(section[0] == 0x0A0D_0D0A && section[2] == 0x1A2B_3C4D && section[3] == 1)
    #expect(section.last == section[1])
    let interface = words(bytes, at: Int(section[1]))
    #expect(interface[0] == 1 && interface[2] == 101 && interface.last == interface[1])
    let packet = words(bytes, at: Int(section[1] + interface[1]))
    #expect(
      packet == [
        6, 60, 0, 0x0102_0304, 0x0506_0708, 5, 5, 0x0403_0245, 0x05, 0x0004_0002, 1, 0x0003_0001, 0x0079_6877, 0, 60,
      ])
    #expect(bytes.count == Int(section[1] + interface[1] + packet[1]))
  }

  @Test func `long packets are cut`() throws {
    let bytes = try capture(snapLength: 64) { writer, pool in
      var lane = SlabLane()
      let payload = try #require(pool.copy([UInt8](repeating: 1, count: 100).span, in: &lane))
      writer.write(header: [UInt8](repeating: 2, count: 40).span, payload: [payload, payload].span, pool: pool, at: 0)
    }
    let section = words(bytes, at: 0)
    let interface = words(bytes, at: Int(section[1]))
    let packet = words(bytes, at: Int(section[1] + interface[1]))
    #expect(packet[5] == 64 && packet[6] == 240)
    #expect(packet[7] == 0x0202_0202 && packet[17] == 0x0101_0101 && packet[22] == 0x0101_0101)
  }

  @Test func `a reader that stands still costs packets, not memory`() throws {
    var ends: [CInt] = [0, 0]
    let made = unsafe clinux_pipe(&ends)
    try #require(made == 0)
    let reader = OwnedDescriptor(owning: ends[0])
    let pool = SlabPool()
    var writer = PcapngWriter(to: OwnedDescriptor(owning: ends[1]), linkType: .raw, bufferSize: 0)
    let packet = [UInt8](repeating: 0, count: 1000)
    for _ in 0..<1000 { writer.write(header: packet.span, pool: pool, at: 0) }
    #expect(writer.packetsDropped > 700)
    #expect(writer.packetsDropped + writer.packetsWritten == 1000)
    #expect(writer.failure == nil)
    _ = reader.rawValue
  }

  @Test(.enabled(if: hasTools, reason))
  func `tshark and capinfos read what a capturing device saw`() throws {
    let (packets, summary) = try TemporaryFile.with { file in
      do {
        let writer = PcapngWriter(to: try file.open(), linkType: .raw, interface: "relay0")
        var bench = Bench(CaptureDevice(LoopbackDevice(), to: writer))
        for count in [10, 1000, 30_000] {
          let packet = TestPacket.tcp(
            from: Self.v4.0, to: Self.v4.1, sequence: 1, flags: .ack, payload: TestPacket.pieces(count),
            segmentSize: 1000)
          #expect(try bench.write(packet) == .written)
        }
        while try bench.next() != nil {}
      }
      return (
        try file.read(by: "tshark -n -T fields -e frame.len -e frame.packet_flags_direction -e tcp.len -e ip.dst -r"),
        try file.read(by: "capinfos -M -c -E -")
      )
    }
    let expected = ["1", "2"].flatMap { direction in
      [10, 1000, 30_000].map { "\($0 + 40)\t\(direction)\t\($0)\t10.0.0.2" }
    }
    let lines = packets.split(separator: "\n").map { line in
      line.split(separator: "\t").map { $0.hasPrefix("0x") ? String($0.last ?? "0") : String($0) }.joined(
        separator: "\t")
    }
    #expect(lines == expected)
    #expect(summary.contains("6") && !summary.isEmpty)
  }
}
