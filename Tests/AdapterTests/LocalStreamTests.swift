import Framing
import Kernel
import Primitives
import Proxy
import Testing

@testable import Adapter

@Suite(.serialized, .timeLimit(.minutes(2))) struct LocalStreamTests {
  /// The error that `body` ends with.
  private func failure(_ body: () async throws -> Void) async -> LocalStreamError? {
    do {
      try await body()
      return nil
    } catch {
      return error as? LocalStreamError
    }
  }

  private func readToEnd(_ stream: LocalStream) async throws -> [UInt8] {
    var bytes: [UInt8] = []
    while let next = try await stream.read() { bytes += next }
    return bytes
  }

  @Test func writesReadsAndEnds() async throws {
    let adapter = try Adapter()
    let device = try DeviceServer.echo()
    let site = try await TestSite(adapter, tcp: [device.port])
    let stream = try await adapter.connect(to: "site/plc", port: device.port)
    let bytes = (0..<3_000_000).map { UInt8(truncatingIfNeeded: $0 / 3) }
    async let received = readToEnd(stream)
    var sent = 0
    while sent < bytes.count {
      let count = min(bytes.count - sent, 1 + (sent * 31) % 90_000)
      try await stream.write(Array(bytes[sent..<sent + count]))
      sent += count
    }
    stream.finish()
    #expect(try await received == bytes)
    #expect(try await stream.read() == nil)
    guard case .finished = await failure({ try await stream.write([1]) }) else {
      Issue.record("written after the end")
      return
    }
    device.stop()
    withExtendedLifetime(site) { adapter.stop() }
  }

  @Test func refusalsSayWhoAndWhy() async throws {
    let adapter = try Adapter()
    let port = try closedPort()
    let site = try await TestSite(adapter, tcp: [port, 7], siteTCP: [port])
    guard case .refused(let refusal) = await failure({ _ = try await adapter.connect(to: "site/plc", port: port) })
    else {
      Issue.record("not refused")
      return
    }
    #expect(refusal.reason == .deviceRefused)
    guard case .refused(let other) = await failure({ _ = try await adapter.connect(to: "site/plc", port: 7) }) else {
      Issue.record("not refused")
      return
    }
    #expect(other.reason == .portNotPermitted)
    guard
      case .denied(.portNotPermitted(let alias, .tcp, 9)) = await failure({
        _ = try await adapter.connect(to: "site/plc", port: 9)
      })
    else {
      Issue.record("not denied")
      return
    }
    #expect(alias.name == "site/plc")
    for name in ["site/other", "other/plc", "plc", "", "/", "site/"] {
      guard case .unknownAgent = await failure({ _ = try await adapter.connect(to: name, port: port) }) else {
        Issue.record("known: \(name)")
        continue
      }
    }
    withExtendedLifetime(site) { adapter.stop() }
  }

  @Test func theDevicesResetIsAnError() async throws {
    let adapter = try Adapter()
    let device = try DeviceServer.breaker()
    let site = try await TestSite(adapter, tcp: [device.port])
    let stream = try await adapter.connect(to: "site/plc", port: device.port)
    try await stream.write([1])
    guard case .reset(.reset) = await failure({ _ = try await stream.read() }) else {
      Issue.record("not reset")
      return
    }
    #expect(await failure { try await stream.write([1]) } != nil)
    device.stop()
    withExtendedLifetime(site) { adapter.stop() }
  }

  @Test func ourResetEndsWhoWaits() async throws {
    let adapter = try Adapter()
    let device = try DeviceServer.echo()
    let site = try await TestSite(adapter, tcp: [device.port])
    let stream = try await adapter.connect(to: "site/plc", port: device.port)
    async let waiting = failure { _ = try await stream.read() }
    try await Task.sleep(for: .milliseconds(50))
    stream.reset()
    guard case .finished = await waiting else {
      Issue.record("not ended")
      return
    }
    #expect(try await becomes(0) { await adapter.status.sites.first?.session.streams })
    device.stop()
    withExtendedLifetime(site) { adapter.stop() }
  }

  @Test func aStreamThatNobodyHoldsIsReset() async throws {
    let adapter = try Adapter()
    let device = try DeviceServer.echo()
    let site = try await TestSite(adapter, tcp: [device.port])
    _ = try await adapter.connect(to: "site/plc", port: device.port)
    #expect(try await becomes(0) { await adapter.status.sites.first?.session.streams })
    device.stop()
    withExtendedLifetime(site) { adapter.stop() }
  }

  @Test func whoDoesntReadGetsAWindowAndNoMore() async throws {
    let adapter = try Adapter()
    let device = try DeviceServer.source()
    let site = try await TestSite(adapter, tcp: [device.port])
    let stream = try await adapter.connect(to: "site/plc", port: device.port)
    let window = UInt64(SessionLimits.initialWindow)
    #expect(try await becomes(window) { await adapter.status.sites.first?.session.counters.dataBytesIn })
    try await Task.sleep(for: .milliseconds(200))
    #expect(await adapter.status.sites.first?.session.counters.dataBytesIn == window)
    // Reading lets it go on.
    var count = 0
    while count < 2_000_000 { count += try await stream.read()?.count ?? 2_000_000 }
    #expect(try #require(await adapter.status.sites.first).session.counters.dataBytesIn >= 2_000_000)
    stream.reset()
    device.stop()
    withExtendedLifetime(site) { adapter.stop() }
  }

  @Test func aDetachedSiteEndsItsStreams() async throws {
    let adapter = try Adapter()
    let device = try DeviceServer.echo()
    let site = try await TestSite(adapter, tcp: [device.port])
    let stream = try await adapter.connect(to: "site/plc", port: device.port)
    async let waiting = failure { _ = try await stream.read() }
    try await Task.sleep(for: .milliseconds(50))
    adapter.detach(site: "site")
    guard case .reset(.internalError) = await waiting else {
      Issue.record("not reset")
      return
    }
    #expect(await failure { try await stream.write([1]) } != nil)
    guard case .unknownAgent = await failure({ _ = try await adapter.connect(to: "site/plc", port: device.port) })
    else {
      Issue.record("still there")
      return
    }
    // The site is told, and its answer awaited for a moment.
    #expect(try await becomes(true) { site.end != nil })
    guard case .local = site.end else {
      Issue.record("the end: \(String(describing: site.end))")
      return
    }
    device.stop()
    adapter.stop()
  }

  @Test func aStoppedAdapterAnswersAtOnce() async throws {
    let adapter = try Adapter()
    let device = try DeviceServer.echo()
    let site = try await TestSite(adapter, tcp: [device.port])
    adapter.stop()
    guard case .stopped = await failure({ _ = try await adapter.connect(to: "site/plc", port: device.port) }) else {
      Issue.record("not stopped")
      return
    }
    #expect(await adapter.agents.isEmpty)
    #expect(await adapter.status.sites.isEmpty)
    #expect(await !adapter.explain(.tcp, device.endpoint).isPermitted)
    await #expect(throws: AdapterError.self) { _ = try await TestSite(adapter, tcp: [1]) }
    device.stop()
    withExtendedLifetime(site) {}
  }

  /// Devices that don't read press the site's memory: some of them lose their streams, the others go on.
  @Test func slowReadersAreCutAndOthersGoOn() async throws {
    let adapter = try Adapter()
    let stuck = try DeviceServer.stuck()
    let device = try DeviceServer.echo()
    var limits = SiteLimits()
    limits.slabs = 10
    let site = try await TestSite(adapter, tcp: [stuck.port, device.port], limits: limits)
    let live = try await adapter.connect(to: "site/plc", port: device.port)
    let ends = try await withThrowingTaskGroup(of: LocalStreamError?.self) { group in
      for _ in 0..<12 {
        let stream = try await adapter.connect(to: "site/plc", port: stuck.port)
        group.addTask {
          await failure {
            for _ in 0..<400 { try await stream.write([UInt8](repeating: 1, count: 65_536)) }
          }
        }
      }
      // As long as it takes until one of them is cut.
      let first = try await group.next()
      for round in 0..<50 as Range<UInt8> {
        try await live.write([round])
        #expect(try await live.read() == [round])
      }
      group.cancelAll()
      adapter.detach(site: "site")
      var ends = [first ?? nil]
      for try await end in group { ends.append(end) }
      return ends
    }
    guard case .reset(.limit) = ends.first ?? nil else {
      Issue.record("the first end is \(String(describing: ends.first))")
      return
    }
    stuck.stop()
    device.stop()
    withExtendedLifetime(site) { adapter.stop() }
  }

  /// Waits for a value, for a few seconds.
  private func becomes<Value: Equatable>(_ value: Value, _ current: () async -> Value?) async throws -> Bool {
    for _ in 0..<500 {
      if await current() == value { return true }
      try await Task.sleep(for: .milliseconds(10))
    }
    return false
  }
}
