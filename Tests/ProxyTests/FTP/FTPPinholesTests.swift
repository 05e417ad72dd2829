import Primitives
import Testing

@testable import Proxy

@Suite struct FTPPinholesTests {
  private let device = IPAddress(192, 168, 10, 10)
  private let control = SlotID(index: 1, generation: 1)
  private let start = Instant(nanoseconds: 1_000_000_000)

  @Test func oneConnectionPasses() {
    var pinholes = FTPPinholes()
    let endpoint = Endpoint(device, 50_000)
    pinholes.open(endpoint, of: "hmi", by: control, now: start)
    #expect(pinholes.contains(endpoint, of: "hmi", now: start))
    #expect(!pinholes.contains(endpoint, of: "other", now: start))
    #expect(!pinholes.contains(Endpoint(device, 50_001), of: "hmi", now: start))
    pinholes.close(endpoint, of: "hmi")
    #expect(!pinholes.contains(endpoint, of: "hmi", now: start))
    #expect(pinholes.count == 0)
  }

  @Test func theyLastAMinuteOrAsLongAsTheirControlConnection() {
    var pinholes = FTPPinholes()
    let endpoint = Endpoint(device, 50_000)
    pinholes.open(endpoint, of: "hmi", by: control, now: start)
    #expect(pinholes.contains(endpoint, of: "hmi", now: start + .milliseconds(59_999)))
    #expect(!pinholes.contains(endpoint, of: "hmi", now: start + .seconds(60)))
    pinholes.closeAll(of: SlotID(index: 2, generation: 1))
    #expect(pinholes.count == 1)
    pinholes.closeAll(of: control)
    #expect(pinholes.count == 0)
  }

  @Test func theOldestGivesWay() {
    var pinholes = FTPPinholes()
    let other = SlotID(index: 2, generation: 1)
    pinholes.open(Endpoint(device, 40_000), of: "hmi", by: other, now: start)
    for port in 50_000..<50_010 as Range<UInt16> {
      pinholes.open(Endpoint(device, port), of: "hmi", by: control, now: start)
    }
    #expect(pinholes.count == 5)
    #expect(!pinholes.contains(Endpoint(device, 50_005), of: "hmi", now: start))
    #expect(pinholes.contains(Endpoint(device, 50_006), of: "hmi", now: start))
    #expect(pinholes.contains(Endpoint(device, 40_000), of: "hmi", now: start))
  }
}
