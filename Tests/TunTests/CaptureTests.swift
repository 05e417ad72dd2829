import Glibc
import Kernel
import Packet
import Primitives
import Testing

@testable import Tun

@Suite(.timeLimit(.minutes(1))) struct CaptureTests {
  private static let ends = (Endpoint(IPAddress(10, 0, 0, 1), 1000), Endpoint(IPAddress(10, 0, 0, 2), 2000))
  static var hasTools: Bool {
    unsafe access("/usr/bin/tshark", X_OK) == 0 && access("/usr/bin/capinfos", X_OK) == 0
  }
  private static let reason: Comment = "needs tshark and capinfos"

  private static func configuration(_ change: (inout CaptureConfiguration) -> Void = { _ in }) -> CaptureConfiguration {
    var configuration = CaptureConfiguration()
    configuration.memory = 64 << 10
    change(&configuration)
    return configuration
  }

  /// Hands a capture a datagram to a port.
  private static func record(
    _ capture: Capture, _ interface: Int = 0, port: UInt16 = 2000, size: Int = 100, comment: String = "",
    at time: Int64 = 1, offload: Offload = .none
  ) {
    let pool = SlabPool(limit: 1)
    let packet = TestPacket.udp(
      from: ends.0, to: Endpoint(ends.1.address, port), payload: [[UInt8](repeating: 7, count: size)])
    capture.record(
      interface, .outbound, at: time, comment: Array(comment.utf8), offload: offload, header: packet.bytes.span,
      pool: pool)
  }

  /// What a capture that has been stopped writes.
  private static func written(_ capture: Capture) throws -> [UInt8] {
    capture.stop()
    return try TemporaryFile.with { file in
      let output = try file.open()
      #expect(capture.run(to: output) == .stopped)
      return try file.bytes()
    }
  }

  private static func packets(_ bytes: [UInt8]) throws -> (PcapngReader, [PcapngReader.Packet]) {
    var reader = PcapngReader()
    var packets: [PcapngReader.Packet] = []
    while let packet = try reader.next(in: bytes.span) { packets.append(packet) }
    return (reader, packets)
  }

  @Test func `what is captured reads back as it was`() throws {
    let capture = try Capture(Self.configuration { $0.filter = "udp" })
    let one = capture.number(of: CaptureInterface("one", description: "first", comment: "known"))
    let two = capture.number(of: CaptureInterface("two", description: ""))
    #expect(one == capture.number(of: CaptureInterface("one", description: "first", comment: "known")))
    Self.record(capture, two, comment: "agent plc; permitted", at: 1_700_000_000_123_456_789)
    Self.record(
      capture, one, size: 3000, at: 2,
      offload: Offload(checksum: .partial(start: 20, offset: 6), segmentation: .udp, segmentSize: 1000))
    let bytes = try Self.written(capture)
    let (reader, packets) = try Self.packets(bytes)
    #expect(reader.interfaces.map(\.name) == ["one", "two"])
    #expect(reader.interfaces[0].comment == "known" && reader.interfaces[0].filter == "udp")
    #expect(reader.interfaces.allSatisfy { $0.linkType == 101 && $0.resolution == 9 })
    #expect(packets.map(\.interface) == [1, 0])
    #expect(packets[0].nanoseconds == 1_700_000_000_123_456_789)
    #expect(packets[0].direction == .outbound && packets[0].comments == ["agent plc; permitted"])
    #expect(packets[1].comments == ["super-segment: parts of 1000 bytes; checksum not computed"])
    #expect(packets[1].data.count == 3028 && packets[1].originalCount == 3028)
    // The statistics of both interfaces come last.
    #expect(reader.skippedBlocks == 2)
  }

  @Test func `a filter chooses, long packets are cut, and all is counted`() throws {
    let capture = try Capture(
      Self.configuration {
        $0.filter = "udp dst port 53"
        $0.snapLength = 64
      })
    _ = capture.number(of: CaptureInterface("one", description: ""))
    for port in [52, 53, 54, 53] as [UInt16] { Self.record(capture, port: port) }
    #expect(capture.counters.captured == 2 && capture.counters.filtered == 2 && capture.counters.dropped == 0)
    let (_, packets) = try Self.packets(try Self.written(capture))
    #expect(packets.map(\.data.count) == [64, 64] && packets.map(\.originalCount) == [128, 128])
  }

  @Test func `what libpcap says of a filter is said`() {
    for (filter, word) in [("no such filter", "syntax error"), ("tcp port nowhere", "nowhere")] {
      let error = #expect(throws: CaptureFilterError.self) {
        _ = try Capture(Self.configuration { $0.filter = filter })
      }
      #expect(error?.reason.contains(word) == true, "\(String(describing: error))")
    }
    #expect(throws: CaptureFilterError.self) {
      _ = try Capture(Self.configuration { $0.filter = String(repeating: "ip or ", count: 1000) + "ip" })
    }
    #expect(throws: CaptureFilterError.self) { _ = try Capture(Self.configuration { $0.filter = "ip\0" }) }
  }

  @Test func `a filter is one for the capture's kind of packets`() throws {
    for filter in ["arp", "ether proto 0x8892", "vlan 10"] {
      #expect(throws: CaptureFilterError.self) { _ = try Capture(Self.configuration { $0.filter = filter }) }
      let capture = try Capture(
        Self.configuration {
          $0.filter = filter
          $0.linkType = .ethernet
        })
      let interface = capture.number(of: CaptureInterface("eth0", description: "", linkType: .ethernet))
      let pool = SlabPool(limit: 1)
      for type: [UInt8] in [[0x08, 0x06], [0x88, 0x92], [0x81, 0x00, 0, 10, 0x88, 0xB5]] {
        let frame = [UInt8](repeating: 2, count: 12) + type + [UInt8](repeating: 0, count: 46)
        capture.record(interface, .unknown, at: 1, comment: [], header: frame.span, pool: pool)
      }
      #expect(capture.counters.captured == 1 && capture.counters.filtered == 2, "\(filter)")
    }
  }

  @Test func `what a filter lets go of takes no room`() throws {
    let capture = try Capture(Self.configuration { $0.filter = "tcp" })
    _ = capture.number(of: CaptureInterface("one", description: ""))
    for _ in 0..<1000 { Self.record(capture, size: 1000) }
    #expect(capture.counters.filtered == 1000 && capture.counters.dropped == 0 && capture.ring.used == 0)
  }

  @Test func `only the last place is given back before the reader comes`() throws {
    let ring = try CaptureRing(capacity: 64 << 10)
    let first = try #require(ring.reserve(100))
    let second = try #require(ring.reserve(100))
    let used = ring.used
    ring.commit(first, keep: false)
    #expect(ring.used == used)
    ring.commit(second, keep: false)
    #expect(ring.used == used / 2)
    let third = try #require(ring.reserve(100))
    #expect(third == second)
    ring.commit(third, keep: true)
    #expect(ring.next()?.place == third)
  }

  @Test func `code that reads memory finds it empty`() throws {
    // ld M[3]; ret A
    let load: [UInt8] = [0, 0x60, 0, 0, 0, 0, 0, 3]
    let end: [UInt8] = [0, 0x16, 0, 0, 0, 0, 0, 0]
    let filter = try CaptureFilter(code: load + end)
    #expect(filter.code().count == 8 * 18)
    #expect(Array(filter.code().suffix(16)) == load + end)
    let packet: [UInt8] = [0x45]
    var isMatch = filter.matches(packet.span, originalCount: 1)
    #expect(!isMatch)
    // ldx M[15]; txa; jump over nothing; ret A
    let other = try CaptureFilter(
      code: [0, 0x61, 0, 0, 0, 0, 0, 15, 0, 0x87, 0, 0, 0, 0, 0, 0, 0, 0x05, 0, 0, 0, 0, 0, 0] + end)
    isMatch = other.matches(packet.span, originalCount: 1)
    #expect(!isMatch)
    // With what is put in front it has to be within the bound.
    let most = (0..<(CaptureFilter.instructionLimit - 17)).flatMap { _ in load }
    _ = try CaptureFilter(code: most + end)
    #expect(throws: CaptureFilterError.self) { _ = try CaptureFilter(code: most + load + end) }
  }

  @Test func `a compiled filter is the same elsewhere, and no code does harm`() throws {
    let packet = TestPacket.udp(from: Self.ends.0, to: Self.ends.1, payload: [[1, 2, 3]]).bytes
    for (text, matches) in [("udp port 2000", true), ("tcp", false), ("", true)] {
      let filter = try CaptureFilter(text, linkType: .raw, snapLength: 65_535)
      let other = try CaptureFilter(code: filter.code(), expression: text)
      let isMatch = other.matches(packet.span, originalCount: packet.count)
      #expect(isMatch == matches, "\(text)")
      #expect(other.code() == filter.code())
    }
    let code = try CaptureFilter("udp port 2000 or ip[30] > 3", linkType: .raw, snapLength: 65_535).code()
    var random = SeededRandom(seed: 4)
    for round in 0..<5000 {
      var changed = code
      for _ in 0...(round % 5) {
        changed[Int.random(in: 0..<changed.count, using: &random)] = UInt8.random(in: 0...255, using: &random)
      }
      guard let filter = try? CaptureFilter(code: changed) else { continue }
      _ = filter.matches(packet.span, originalCount: packet.count)
    }
    #expect(throws: CaptureFilterError.self) { _ = try CaptureFilter(code: [UInt8](repeating: 0, count: 7)) }
    #expect(throws: CaptureFilterError.self) { _ = try CaptureFilter(code: [UInt8](repeating: 6, count: 8 * 4097)) }
  }

  @Test func `a full ring drops and counts, and goes on when it is read`() throws {
    let capture = try Capture(Self.configuration())
    _ = capture.number(of: CaptureInterface("one", description: ""))
    for _ in 0..<1000 { Self.record(capture, size: 1000) }
    let counters = capture.counters
    #expect(counters.captured > 50 && counters.captured < 70, "\(counters)")
    #expect(counters.captured + counters.dropped == 1000)
    #expect(capture.ring.used <= capture.ring.capacity)
    let (reader, packets) = try Self.packets(try Self.written(capture))
    #expect(UInt64(packets.count) == counters.captured && reader.skippedBlocks == 1)
    #expect(capture.ring.used == 0)
  }

  @Test func `interfaces are bounded`() throws {
    let capture = try Capture(Self.configuration())
    let numbers = (0..<2000).map { capture.number(of: CaptureInterface("\($0)", description: "")) }
    #expect(Set(numbers).count == Capture.interfaceLimit)
  }

  @Test func `many threads put in what one takes out`() throws {
    let capture = try Capture(Self.configuration { $0.memory = 1 << 20 })
    let interface = capture.number(of: CaptureInterface("one", description: ""))
    let writers = try (0..<4).map { number in
      try Thread(name: "writer") {
        for index in 0..<5000 {
          Self.record(capture, interface, port: UInt16(number), size: 10 + index % 700, at: Int64(index))
        }
      }
    }
    let stopper = try Thread(name: "stopper") {
      for writer in writers { writer.join() }
      Thread.sleep(.milliseconds(50))
      capture.stop()
    }
    let (bytes, end) = try TemporaryFile.with { file in
      let end = capture.run(to: try file.open())
      return (try file.bytes(), end)
    }
    stopper.join()
    #expect(end == .stopped)
    let (_, packets) = try Self.packets(bytes)
    let counters = capture.counters
    #expect(counters.captured + counters.dropped == 20_000)
    #expect(UInt64(packets.count) == counters.captured && counters.captured > 0)
    var last = [Int64](repeating: -1, count: 4)
    for packet in packets {
      let port = Int(bytes[packet.data.lowerBound + 22]) << 8 | Int(bytes[packet.data.lowerBound + 23])
      let time = try #require(packet.nanoseconds)
      #expect(time > last[port], "each thread's in order")
      last[port] = time
      #expect(packet.data.count == 28 + 10 + Int(time) % 700)
    }
  }

  @Test func `a reader that goes away ends it, and one that stands still doesn't hold it up`() throws {
    SignalDescriptor.ignoreBrokenPipes()
    let pair = try UnixSocket.pair()
    let near = pair.near
    let capture = try Capture(Self.configuration())
    _ = capture.number(of: CaptureInterface("one", description: ""))
    let feeder = try Thread(name: "feeder") {
      // More than the socket and the ring take.
      for _ in 0..<5000 { Self.record(capture, size: 1000) }
      Thread.sleep(.milliseconds(100))
      capture.stop()
    }
    let start = Clock.now
    #expect(capture.run(to: near) == .readerGone)
    #expect(Clock.now - start < .seconds(10))
    feeder.join()
    #expect(capture.counters.dropped > 0)

    let second = try UnixSocket.pair()
    let other = second.near
    do { _ = consume second.far }
    #expect(try Capture(Self.configuration()).run(to: other) == .readerGone)
  }

  @Test func `bounds of packets and time end it`() throws {
    let capture = try Capture(Self.configuration { $0.packetLimit = 3 })
    _ = capture.number(of: CaptureInterface("one", description: ""))
    for _ in 0..<10 { Self.record(capture) }
    let (_, packets) = try TemporaryFile.with { file in
      let output = try file.open()
      #expect(capture.run(to: output) == .stopped)
      return try Self.packets(try file.bytes())
    }
    #expect(packets.count == 3)
    let timed = try Capture(Self.configuration { $0.timeLimit = .milliseconds(50) })
    let start = Clock.now
    try TemporaryFile.with { file in
      let output = try file.open()
      #expect(timed.run(to: output) == .stopped)
    }
    #expect(Clock.now - start >= .milliseconds(50))
  }

  @Test(.enabled(if: hasTools, reason))
  func `tshark and capinfos have no complaint`() throws {
    // One that is the same for both kinds of interfaces.
    let capture = try Capture(Self.configuration { $0.filter = "greater 1" })
    let one = capture.number(of: CaptureInterface("plant/plc", description: "plaintext", comment: "a comment"))
    let two = capture.number(of: CaptureInterface("eth0", description: "raw", linkType: .ethernet))
    Self.record(capture, one, comment: "agent plant/plc; flow 1-2.3; permitted", at: 1_700_000_000_000_000_001)
    let pool = SlabPool(limit: 1)
    let frame =
      [UInt8](repeating: 2, count: 12) + [8, 0]
      + TestPacket.udp(
        from: Self.ends.0, to: Self.ends.1, payload: [[1, 2, 3]]
      ).bytes
    capture.record(two, .inbound, at: 5, comment: [], header: frame.span, pool: pool)
    capture.stop()
    let (lines, complaints, information) = try TemporaryFile.with { file in
      let output = try file.open()
      #expect(capture.run(to: output) == .stopped)
      return (
        try file.read(by: "tshark -n -T fields -e frame.interface_name -e frame.comment -e udp.length -r"),
        try file.read(by: "tshark -n -r", errors: true),
        try file.read(by: "capinfos -c -I", errors: true)
      )
    }
    #expect(lines == "plant/plc\tagent plant/plc; flow 1-2.3; permitted\t108\neth0\t\t11\n")
    #expect(!complaints.contains("tshark:"), "\(complaints)")
    #expect(information.contains("Number of packets:   2") && !information.contains("capinfos:"), "\(information)")
  }
}
