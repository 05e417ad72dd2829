import Control
import Primitives
import Testing

@Suite struct DiscoveryMessageTests {
  private static let messages: [DiscoveryMessage] = [
    .discover(.init(methods: ["dcp", "lldp"], seconds: 5, ranges: ["10.0.0.0/24"])), .discover(.init(seconds: 60)),
    .assign(.init(mac: "00:0e:8c:00:00:01", name: "plc-1", permanent: true)),
    .assign(
      .init(mac: "00:0e:8c:00:00:01", address: "192.168.10.20/24", gateway: "192.168.10.1", permanent: false)),
    .device(
      .init(
        mac: "00:0e:8c:00:00:01", name: "plc-1", vendor: "Siemens", kind: "S7-1200", addresses: ["192.168.10.20"],
        mask: "255.255.255.0", gateway: "192.168.10.1", location: "http://x/", methods: ["dcp"],
        problems: ["foreignSubnet"])),
    .done(.init(devices: 3, unasked: 1, remarks: ["eth1 has no address"])), .assigned,
    .failure(.init(.notPermitted, "agent cell doesn't permit it")),
  ]

  @Test func roundTripsAtEverySplit() throws {
    let bytes = try Self.messages.flatMap { try $0.encoded() }
    for size in [1, 2, 3, 5, 7, 64, bytes.count] {
      var decoder = DiscoveryDecoder()
      var read: [DiscoveryMessage] = []
      for start in stride(from: 0, to: bytes.count, by: size) {
        decoder.receive(bytes[start..<min(start + size, bytes.count)])
        while let message = try decoder.next() { read.append(message) }
      }
      #expect(read == Self.messages && decoder.buffered == 0)
    }
  }

  @Test func onTheWire() throws {
    let text = #"{"seconds":5,"type":"discover"}"#
    #expect(try DiscoveryMessage.discover(.init(seconds: 5)).encoded() == [0, 0, 0, 31] + Array(text.utf8))
  }

  @Test func laterVersionsAreUnderstood() throws {
    var decoder = DiscoveryDecoder()
    for text in [#"{"type":"blink","mac":"x"}"#, #"{"type":"assigned","since":7}"#] {
      decoder.receive([0, 0, 0, UInt8(text.utf8.count)] + Array(text.utf8))
    }
    #expect(try decoder.next() == .unknown("blink"))
    #expect(try decoder.next() == .assigned)
  }

  @Test func sizesAreBounded() throws {
    var decoder = DiscoveryDecoder()
    decoder.receive([0, 1, 0, 1])
    #expect(throws: ControlError.tooLong(65_537)) { try decoder.next() }
    let long = DiscoveryMessage.done(.init(devices: 0, unasked: 0, remarks: [String(repeating: "x", count: 65_536)]))
    #expect(throws: ControlError.self) { try long.encoded() }
  }

  @Test func whatIsNoMessageIsSkipped() throws {
    var decoder = DiscoveryDecoder()
    for text in ["[]", #"{"type":"discover"}"#, #"{"type":7}"#, "\u{1}"] {
      decoder.receive([0, 0, 0, UInt8(text.utf8.count)] + Array(text.utf8))
      do throws(ControlError) {
        _ = try decoder.next()
        Issue.record("read \(text)")
      } catch {
        guard case .malformed = error else {
          Issue.record("\(error)")
          continue
        }
      }
    }
    decoder.receive(try DiscoveryMessage.assigned.encoded())
    #expect(try decoder.next() == .assigned)
    var random = SeededRandom(seed: 31)
    for _ in 0..<2000 {
      var decoder = DiscoveryDecoder()
      decoder.receive(
        (0..<Int.random(in: 0...80, using: &random)).map { _ in UInt8.random(in: 0...255, using: &random) })
      _ = try? decoder.next()
    }
  }
}
