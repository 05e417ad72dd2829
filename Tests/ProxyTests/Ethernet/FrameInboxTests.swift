import Packet
import Primitives
import Testing
import Tun

@testable import Proxy

struct FrameInboxTests {
  private static let pc = MACAddress(0x0200_0000_00A0)

  /// Takes frames, or doesn't.
  struct Sink: PacketDevice, ~Copyable {
    var frames: [[UInt8]] = []
    var offloads: [Offload] = []
    var isBlocked = false
    var descriptor: CInt? { nil }
    var counters: DeviceCounters { DeviceCounters() }

    mutating func read(into slice: Slice, pool: inout SlabPool) throws(TunError) -> PacketRead { .wouldBlock }

    mutating func write(
      _ offload: Offload, header: Span<UInt8>, payload: Span<Slice>, pool: inout SlabPool
    ) throws(TunError) -> PacketWrite {
      if isBlocked { return .dropped(.full) }
      var bytes: [UInt8] = []
      for index in header.indices { bytes.append(header[index]) }
      for index in payload.indices { bytes += pool.array(payload[index]) }
      frames.append(bytes)
      offloads.append(offload)
      return .written
    }
  }

  struct Bench: ~Copyable {
    var pool = SlabPool(limit: 8)
    var lane = SlabLane()
    var inbox = FrameInbox()
    var sink = Sink()
    var filter = EthernetFilter(rule: EthernetRule(types: [.profinet]))

    /// A message, as a peer cuts it.
    mutating func append(_ message: [UInt8], pieces: [Int] = []) {
      var rest = message[...]
      for size in pieces + [rest.count] where !rest.isEmpty {
        let piece = Array(rest.prefix(size))
        rest = rest.dropFirst(size)
        if let slice = pool.copy(piece.span, in: &lane) {
          inbox.append(slice, isContinued: !rest.isEmpty, pool: &pool)
        }
      }
    }

    mutating func deliver() throws -> FrameInbox.Delivery {
      try inbox.deliver(to: &sink, .toSite, filter: &filter, pool: &pool, now: Instant.zero + .seconds(1))
    }

    mutating func close() -> Int {
      inbox.removeAll(pool: &pool)
      pool.close(&lane)
      return pool.slabsInUse - pool.cellSlabs + pool.cellsInUse
    }
  }

  private static func frame(_ size: Int, type: EtherType = .profinet) -> [UInt8] {
    var bytes = [UInt8](repeating: 3, count: max(14, size))
    var span = bytes.mutableSpan
    EthernetHeader(destination: .broadcast, source: pc, type: type).write(into: &span)
    return bytes
  }

  private static func message(_ frame: [UInt8], _ offload: Offload = .none) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: VirtioNetHeader.size)
    var span = bytes.mutableSpan
    VirtioNetHeader(offload, headerLength: 0).write(into: &span)
    return bytes + frame
  }

  @Test func `frames pass from their pieces, and nothing before the last one is there`() throws {
    var bench = Bench()
    let (small, large) = (Self.frame(60), Self.frame(40_000))
    bench.append(Self.message(small))
    let slice = bench.pool.copy(Self.message(large).span.extracting(0..<16_000), in: &bench.lane)!
    bench.inbox.append(slice, isContinued: true, pool: &bench.pool)
    guard case .frame(70, .pass, .written, source: Self.pc) = try bench.deliver() else { throw Missing() }
    guard case .none = try bench.deliver() else { throw Missing() }
    let rest = Array(Self.message(large)[16_000...])
    let end = bench.pool.copy(rest.span, in: &bench.lane)!
    bench.inbox.append(end, isContinued: false, pool: &bench.pool)
    guard case .frame(40_010, .pass, .written, source: _) = try bench.deliver() else { throw Missing() }
    let frames = bench.sink.frames
    #expect(frames == [small, large])
    let left = bench.close()
    #expect(left == 0)
  }

  @Test func `what the filter refuses doesn't reach the device`() throws {
    var bench = Bench()
    bench.append(Self.message(Self.frame(60, type: .etherCAT)))
    guard case .frame(70, .refuse(.typeNotPermitted), .dropped(.rejected), source: _) = try bench.deliver() else {
      throw Missing()
    }
    #expect(bench.sink.frames.isEmpty)
    let left = bench.close()
    #expect(left == 0)
  }

  @Test func `a frame waits for a device that is full, and is judged once`() throws {
    var bench = Bench()
    bench.append(Self.message(Self.frame(60)))
    bench.sink.isBlocked = true
    for _ in 0..<3 { guard case .blocked = try bench.deliver() else { throw Missing() } }
    bench.sink.isBlocked = false
    guard case .frame(70, .pass, .written, source: _) = try bench.deliver() else { throw Missing() }
    let passed = bench.filter.counters.passedToSite
    #expect(passed == 1)
    let left = bench.close()
    #expect(left == 0)
  }

  @Test func `a description that contradicts its frame, and headers behind a cut, are malformed`() throws {
    var outside = Offload()
    outside.checksum = .partial(start: 60, offset: 16)
    var empty = Offload()
    empty.segmentation = .tcp4
    let bad: [([UInt8], [Int])] = [
      ([1, 2], []), ([UInt8](repeating: 0, count: 20), []), (Self.message(Self.frame(60), outside), []),
      (Self.message(Self.frame(60), empty), []), (Self.message(Self.frame(4000)), [100]),
      ([9, 0, 0], []),
    ]
    for (message, pieces) in bad {
      var bench = Bench()
      bench.append(message, pieces: pieces)
      guard case .malformed(let count) = try bench.deliver() else { throw Missing() }
      #expect(count == message.count)
      let left = bench.close()
      #expect(left == 0)
    }
  }

  /// A checksum is written after the frame was judged: it may stand nowhere but where the frame has one.
  @Test func `a description can't write another port, address or type into a judged frame`() throws {
    let addresses: [UInt8] = [2, 0, 0, 0, 0, 1] + (0..<6).map { UInt8(Self.pc.value >> UInt64(40 - 8 * $0) & 0xFF) }
    let ip: [UInt8] = [0x45, 0, 0, 44, 0, 1, 0, 0, 64, 6, 0, 0, 10, 0, 0, 9, 10, 0, 0, 10]
    let tcp: [UInt8] = [0x10, 0, 0, 102, 0, 0, 0, 1, 0, 0, 0, 2, 0x50, 0x10, 0, 1, 0, 0, 0, 0, 1, 2, 3, 4]
    let frame = addresses + [8, 0] + ip + tcp
    let rule = EthernetRule(types: [.ipv4], tcp: [102...102])
    for (start, offset) in [(34, 16), (34, 2), (34, 0), (30, 0), (12, 0), (26, 8), (34, 6), (50, 0)] {
      var bench = Bench()
      bench.filter = EthernetFilter(rule: rule)
      bench.append(Self.message(frame, Offload(checksum: .partial(start: start, offset: offset))))
      let delivery = try bench.deliver()
      if (start, offset) == (34, 16) {
        guard case .frame(_, .pass, .written, source: _) = delivery else { throw Missing() }
      } else {
        guard case .malformed = delivery else { throw Missing() }
      }
      let left = bench.close()
      #expect(left == 0)
    }
  }

  @Test func `segments are of the frame's protocol, bounded, and for one station`() throws {
    let addresses: [UInt8] = [2, 0, 0, 0, 0, 1] + (0..<6).map { UInt8(Self.pc.value >> UInt64(40 - 8 * $0) & 0xFF) }
    let ip: [UInt8] = [0x45, 0, 0x9C, 0x40, 0, 1, 0, 0, 64, 17, 0, 0, 10, 0, 0, 9, 10, 0, 0, 10]
    let frame = addresses + [8, 0] + ip + [0, 53, 0, 53, 0x9C, 0x2C, 0, 0] + [UInt8](repeating: 1, count: 39_972)
    let offload = { (kind: Offload.Segmentation, size: Int) in
      Offload(checksum: .partial(start: 34, offset: 6), segmentation: kind, segmentSize: size)
    }
    let group = [0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF] + frame[6...]
    for (bytes, offload, isGood) in [
      (frame, offload(.udp, 1400), true), (frame, offload(.udp, 1), false), (frame, offload(.udp, 300), false),
      (frame, offload(.tcp4, 1400), false), (group, offload(.udp, 1400), false),
      (frame, Offload(segmentation: .udp, segmentSize: 1400), false),
    ] {
      var bench = Bench()
      bench.filter = EthernetFilter(rule: EthernetRule(types: [.ipv4], udp: [53...53]))
      bench.append(Self.message(bytes, offload), pieces: [16_000, 16_000])
      let delivery = try bench.deliver()
      if isGood {
        guard case .frame(_, .pass, .written, source: _) = delivery else { throw Missing() }
      } else {
        guard case .malformed = delivery else { throw Missing() }
      }
      let left = bench.close()
      #expect(left == 0)
    }
  }

  @Test func `the state of the site's interface comes between frames`() throws {
    var bench = Bench()
    bench.append(EthernetLinkState(.noCarrier, mtu: 9000).bytes)
    guard case .state(3, let state) = try bench.deliver() else { throw Missing() }
    #expect(state == EthernetLinkState(.noCarrier, mtu: 9000))
    #expect("\(state)" == "nothing plugged in")
    let left = bench.close()
    #expect(left == 0)
  }

  struct Missing: Error {}
}
