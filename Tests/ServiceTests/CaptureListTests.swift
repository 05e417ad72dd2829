import Kernel
import Testing
import Tun

@testable import Service

@Suite struct CaptureListTests {
  private static let request = CaptureRequest(["agent": "plc", "filter": "tcp port 102", "drops": "yes"])

  @Test func capturesAreBounded() throws {
    let list = CaptureList()
    let captures = try (0..<CaptureList.limit).map { _ in try Self.request.start() }
    for capture in captures { try list.add(capture, by: "a", Self.request, seesFlows: capture !== captures[0]) }
    let another = try Self.request.start()
    #expect(throws: CommandFailure.self) { try list.add(another, by: "a", Self.request) }
    #expect(list.captures.count == CaptureList.limit && list.flowCaptures.count == CaptureList.limit - 1)
    list.remove(captures[1])
    #expect(captures[1].isStopped && list.captures.count == CaptureList.limit - 1)
    try list.add(another, by: "a", Self.request)
  }

  @Test func whoAsksFromRemoteIsBounded() {
    let list = CaptureList()
    for number in 0...CaptureList.remoteLimit { #expect(list.claim() == (number < CaptureList.remoteLimit)) }
    list.unclaim()
    #expect(list.claim())
  }

  @Test func reportsSayWhoAndWhat() throws {
    let list = CaptureList()
    try list.add(try Self.request.start(), by: "eve at laptop\u{1B}[2J", Self.request)
    let text = try #require(list.reports.first).text
    #expect(text.contains("agent plc, drops, filter \"tcp port 102\": 0 packets"))
    #expect(!text.contains("\u{1B}"))
  }

  @Test func aBadFilterIsAnErrorWithItsReason() {
    let failure = #expect(throws: CommandFailure.self) { try CaptureRequest(["filter": "nonsense here"]).start() }
    #expect(failure?.exitCode == .data && failure?.description.contains("syntax error") == true)
  }

  @Test func aFilterGoesToASiteCompiled() throws {
    let fields = try CaptureRequest.remote(
      ["filter": "udp port 53", "at": "site", "agent": "a/b", "snap": "96"], linkType: .raw)
    #expect(fields["agent"] == nil && fields["at"] == nil && fields["snap"] == "96")
    let request = CaptureRequest(remote: fields)
    #expect(request.configuration.filterCode?.isEmpty == false && request.configuration.filter == "udp port 53")
    _ = try request.start()
    for code in ["xyz", "0", "00", "0005000000000000", "ffff000000000000"] {
      #expect(throws: CommandFailure.self) { try CaptureRequest(remote: ["code": code]).start() }
    }
    // Text that would be looked up, or is none, isn't even looked at.
    #expect(CaptureRequest(remote: ["filter": "host nowhere.example"]).configuration.filterCode == [])
    #expect(throws: CommandFailure.self) {
      try CaptureRequest.remote(["filter": "ip6 protochain 6"], linkType: .raw)
    }
  }

  @Test func numbersThatArentAreBounded() throws {
    let request = CaptureRequest(["snap": "-5", "seconds": "99999999999", "count": "x"])
    #expect(request.configuration.timeLimit == .seconds(1 << 30) && request.configuration.packetLimit == nil)
    #expect(try request.start().configuration.snapLength == 64)
  }
}
