import Framing
import Kernel
import Packet
import Primitives
import Simulation
import Testing

@testable import Proxy
@testable import Tun

/// Frames that captures look at.
struct FrameTapTests {
  private static func capture(_ change: (inout CaptureConfiguration) -> Void = { _ in }) throws -> Capture {
    var configuration = CaptureConfiguration()
    configuration.memory = 64 << 10
    change(&configuration)
    return try Capture(configuration)
  }

  private static func frame(_ type: UInt16) -> [UInt8] {
    [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, UInt8(type >> 8), UInt8(type & 0xFF)] + [UInt8](repeating: 7, count: 100)
  }

  /// What is in a capture: `interface, comment` of each packet.
  private static func packets(_ capture: Capture) throws -> [String] {
    capture.stop()
    let bytes = try CapturedBytes.of(capture)
    var reader = PcapngReader()
    var found: [String] = []
    while let packet = try reader.next(in: bytes.span) {
      let interface = reader.interfaces[packet.interface]
      #expect(interface.linkType == LinkType.ethernet.rawValue)
      found.append("\(interface.name), \(packet.comments.joined())")
    }
    return found
  }

  @Test func `frames are chosen by agent, verdict, kind and filter`() throws {
    var pool = SlabPool(limit: 4)
    var lane = SlabLane()
    let all = try Self.capture()
    let frames = try Self.capture { $0.linkType = .ethernet }
    let drops = try Self.capture { $0.onlyDrops = true }
    let other = try Self.capture { $0.agent = "s/other" }
    let ofFlow = try Self.capture { $0.flow = "1-2.3" }
    let forIP = try Self.capture { $0.filter = "tcp" }
    let filtered = try Self.capture {
      $0.linkType = .ethernet
      $0.filter = "ether proto 0x88b5"
    }
    let tap = FrameTap([all, frames, drops, other, ofFlow, forIP, filtered], agent: "s/cell", description: "d")
    for (type, verdict, loss) in [
      (0x88B5, .pass, nil), (0x88B6, .refuse(.typeNotPermitted), nil), (0x88B7, .cut(.loop), nil),
      (0x88B8, .pass, "no room"),
    ] as [(UInt16, EthernetVerdict, String?)] {
      let copy = pool.copy(Self.frame(type).span, in: &lane)
      let slice = try #require(copy)
      tap.record(TappedFrame([slice], .none), .inbound, verdict, loss: loss, at: 1, pool: pool)
      pool.release(slice)
    }
    let passed = "s/cell, agent s/cell; permitted"
    let lost = [
      "s/cell, agent s/cell; refused: \(EthernetRefusal.typeNotPermitted)",
      "s/cell, agent s/cell; refused: \(EthernetRefusal.loop)",
      "s/cell, agent s/cell; permitted; dropped: no room",
    ]
    #expect(try Self.packets(all) == [passed] + lost)
    #expect(try Self.packets(frames) == [passed] + lost)
    #expect(try Self.packets(drops) == lost)
    #expect(try Self.packets(filtered) == [passed])
    for none in [other, ofFlow, forIP] { #expect(try Self.packets(none) == []) }
    pool.close(&lane)
    let left = pool.slabsInUse
    #expect(left == 0)
  }

  @Test func `a frame in pieces is looked at as one, and outlives its delivery`() throws {
    var pool = SlabPool(limit: 8)
    var lane = SlabLane()
    var inbox = FrameInbox()
    let frame = Self.frame(0x88B5) + [UInt8](repeating: 9, count: 30_000)
    // Nothing was left undone: a description of zeros.
    let message = [UInt8](repeating: 0, count: VirtioNetHeader.size) + frame
    var rest = message[...]
    for size in [16_000, message.count] where !rest.isEmpty {
      let piece = Array(rest.prefix(size))
      rest = rest.dropFirst(size)
      let copy = pool.copy(piece.span, in: &lane)
      inbox.append(try #require(copy), isContinued: !rest.isEmpty, pool: &pool)
    }
    let tapped = inbox.tapped(pool: &pool)
    let seen = try #require(tapped)
    inbox.removeAll(pool: &pool)
    let capture = try Self.capture()
    FrameTap([capture], agent: "s/cell", description: "d").record(seen, .outbound, .pass, at: 1, pool: pool)
    seen.release(pool: &pool)
    capture.stop()
    let bytes = try CapturedBytes.of(capture)
    var reader = PcapngReader()
    let packet = try #require(try reader.next(in: bytes.span))
    #expect(Array(bytes[packet.data]) == frame)
    let nothing = inbox.tapped(pool: &pool)
    #expect(nothing == nil)
    pool.close(&lane)
    let left = pool.slabsInUse - pool.cellSlabs + pool.cellsInUse
    #expect(left == 0)
  }
}
