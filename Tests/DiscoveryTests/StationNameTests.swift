import Discovery
import Packet
import Primitives
import Testing

@Suite struct StationNameTests {
  @Test func names() {
    for good in ["plc-1", "a", "press4.hall-2", "1.2.3", "port-1", "port-0001", String(repeating: "a", count: 63)] {
      #expect(StationName(good) != nil, "\(good)")
    }
    let long = [String](repeating: String(repeating: "a", count: 59), count: 4).joined(separator: ".")
    #expect(long.utf8.count == 239 && StationName(long) != nil && StationName(long + "aa") == nil)
    for bad in [
      "", "PLC", "plc_1", "-plc", "plc-", "plc..1", "plc.", "192.168.0.1", "port-001", "port-001-00001.x", "plc 1", "ü",
      String(repeating: "a", count: 64),
    ] {
      #expect(StationName(bad) == nil, "\(bad)")
    }
  }

  @Test func addresses() {
    let net = { (text: String, length: Int, gateway: String?) in
      IPAddress(text).flatMap { IPv4Assignment($0, prefixLength: length, gateway: gateway.flatMap { IPAddress($0) }) }
    }
    #expect(net("192.168.0.5", 24, "192.168.0.1")?.mask == IPAddress(255, 255, 255, 0))
    for (address, length, gateway) in [
      ("192.168.0.0", 24, nil), ("192.168.0.255", 24, nil), ("0.0.0.0", 8, nil), ("224.0.0.5", 24, nil),
      ("127.0.0.1", 8, nil), ("192.168.0.5", 31, nil), ("192.168.0.5", 0, nil), ("192.168.0.5", 24, "192.168.1.1"),
      ("192.168.0.5", 24, "192.168.0.5"), ("192.168.0.5", 24, "192.168.0.255"), ("fd00::5", 24, nil),
    ] as [(String, Int, String?)] {
      #expect(net(address, length, gateway) == nil, "\(address)/\(length) \(gateway ?? "")")
    }
  }
}
