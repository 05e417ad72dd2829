import Control
import Framing
import Primitives
import Proxy
import Testing

@testable import Service

struct ReportTests {
  @Test func tellsOfOutages() {
    var log = OutageLog()
    log.lost("nothing has come\nfor 50 s", now: .zero, unixSeconds: 1_000)
    log.lost("refused", now: .zero + .seconds(2), unixSeconds: 1_002)
    log.recovered(now: .zero + .seconds(9))
    log.lost("closed", now: .zero + .seconds(60), unixSeconds: 1_060)
    let text = OutageReport.text(log.latest.map(OutageReport.init), of: "GateManager", now: 1_090)
    #expect(
      text == """
        lost GateManager 30 s ago: closed
        lost GateManager 1 min ago: nothing has come\\nfor 50 s; back after 9 s; failed attempts: 1

        """)
  }

  @Test func warnsOfPressedMemory() {
    var pool = PoolStatus()
    pool.slabSize = 1 << 18
    (pool.slabsInUse, pool.slabLimit) = (3, 4)
    #expect(MemoryReport(pool).problems(of: "x").isEmpty && MemoryReport(pool).inUse == 3 << 18)
    pool.isPressed = true
    #expect(MemoryReport(pool).problems(of: "x").count == 1)
  }

  @Test func showsAFlow() {
    let id = ConnectionID(SessionID([UInt8](repeating: 0xAB, count: 16))!, StreamID(slot: 3, tenant: 9))
    var flow = FlowStatus(
      id, agent: "plc", protocol: .tcp, destination: Endpoint(IPAddress(192, 168, 10, 20), 502), age: .seconds(5),
      stream: nil, role: .site)
    flow.waiting = 2048
    let report = OpenFlowReport(flow)
    #expect(report.id == "abababab-3.9" && report.state == "closing" && report.destination == "192.168.10.20:502")
    let rows = "\(OpenFlowReport.table([report]))".split(separator: "\n")
    #expect(rows.count == 2 && rows[1].hasPrefix("abababab-3.9  plc    tcp"))
    #expect(rows[1].hasSuffix("2.0 KiB"))
  }

  @Test func showsTimes() {
    #expect(
      Quantity.seconds(2) == "2 s" && Quantity.seconds(0.25) == "0.25 s" && Quantity.seconds(12.3456) == "12.35 s")
    #expect(Quantity.delay(microseconds: 850) == "850 µs" && Quantity.delay(microseconds: 12_400) == "12 ms")
    #expect(Quantity.delay(microseconds: 1_460_000) == "1.4 s")
  }
}
