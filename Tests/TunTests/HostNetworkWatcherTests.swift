import CLinux
import Glibc
import Kernel
import Primitives
import Synchronization
import Testing

@testable import Tun

@Suite(.enabled(if: NetworkSandbox.isAvailable, NetworkSandbox.reason))
struct HostNetworkWatcherTests {
  private static func drain(_ watcher: inout HostNetworkWatcher) throws -> [HostNetworkEvent] {
    var events: [HostNetworkEvent] = []
    while clinux_poll_one(watcher.descriptor, Int16(POLLIN), 50) > 0 {
      while let event = try watcher.next() { events.append(event) }
    }
    return events
  }

  @Test func `what changes is told in order`() throws {
    let address = LinkAddress(IPAddress(10, 9, 0, 1), prefixLength: 24, link: 0)
    let (index, before, events) = try NetworkSandbox.run {
      var watcher = try HostNetworkWatcher()
      let before = try Self.drain(&watcher)
      var index = 0
      var events: [HostNetworkEvent] = []
      do {
        let device = try TunDevice(opening: TunConfiguration(name: "watched"))
        let routes = try RouteSocket()
        index = device.index ?? 0
        var own = address
        own.link = index
        try routes.setUp(true, link: index)
        try routes.setMTU(1400, link: index)
        try routes.add(own)
        try routes.remove(own)
        events = try Self.drain(&watcher)
        _ = device.name
      }
      events += try Self.drain(&watcher)
      return (index, before, events)
    }
    var own = address
    own.link = index
    #expect(before.isEmpty)
    #expect(events.contains(.linkChanged(name: "watched", index: index, isUp: true, mtu: 1400)))
    let added = try #require(events.firstIndex(of: .addressAdded(own)))
    let removed = try #require(events.firstIndex(of: .addressRemoved(own)))
    #expect(added < removed)
    #expect(events.contains(.routesChanged))
    #expect(events.contains(.linkRemoved(name: "watched", index: index)))
  }

  @Test func `changes that were lost are reported as an overrun`() throws {
    let events = try NetworkSandbox.run {
      var watcher = try HostNetworkWatcher()
      guard clinux_set_option(watcher.descriptor, SOL_SOCKET, SO_RCVBUF, 1) == 0 else {
        throw Unmet(what: "SO_RCVBUF")
      }
      let device = try TunDevice(opening: TunConfiguration(name: "busy"))
      let routes = try RouteSocket()
      for mtu in 1300..<1400 { try routes.setMTU(mtu, link: device.index ?? 0) }
      let events = try Self.drain(&watcher)
      _ = device.name
      return events
    }
    #expect(events.contains(.overrun))
  }
}

@Suite(.enabled(if: NetworkSandbox.isAvailable, NetworkSandbox.reason))
struct HostNetworkMonitorTests {
  @Test func `a burst of changes is one call and nothing comes after the end`() throws {
    let calls = Atomic(0)
    try NetworkSandbox.run {
      let started = HostNetworkMonitor.start {
        calls.add(1, ordering: .relaxed)
      } onFailure: {
        Issue.record("\($0)")
      }
      guard let monitor = started else { return }
      let device = try TunDevice(opening: TunConfiguration(name: "watched"))
      let routes = try RouteSocket()
      for mtu in 1300..<1350 { try routes.setMTU(mtu, link: device.index ?? 0) }
      let deadline = Clock.now + .seconds(10)
      while calls.load(ordering: .relaxed) == 0, Clock.now < deadline { Thread.sleep(.milliseconds(10)) }
      monitor.stop()
      try need((1...3).contains(calls.load(ordering: .relaxed)), "\(calls.load(ordering: .relaxed)) calls")
      calls.store(0, ordering: .relaxed)
      try routes.setMTU(1400, link: device.index ?? 0)
      Thread.sleep(HostNetworkMonitor.settling * 2)
    }
    #expect(calls.load(ordering: .relaxed) == 0)
  }
}

@Suite struct RouteMessagesTests {
  /// A message as the kernel writes it on a little-endian machine.
  private func message(_ type: UInt8, _ body: [UInt8]) -> [UInt8] {
    let length = UInt8(16 + body.count)
    return [length, 0, 0, 0, type, 0, 0, 0] + [UInt8](repeating: 0, count: 8) + body
      + [UInt8](repeating: 0, count: (4 - body.count & 3) & 3)
  }

  private func parse(_ bytes: [UInt8]) -> [RouteMessages.Message] {
    var messages = RouteMessages()
    var found: [RouteMessages.Message] = []
    while let message = messages.next(in: bytes.span) { found.append(message) }
    return found
  }

  private var link: [UInt8] {
    message(
      16,
      [0, 0, 0, 0, 7, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0] + [7, 0, 3, 0, 0x61, 0x62, 0, 0] + [8, 0, 4, 0, 0xDC, 5, 0, 0])
  }

  private var address: [UInt8] {
    message(21, [2, 24, 0, 0, 7, 0, 0, 0] + [8, 0, 1, 0, 10, 0, 0, 9] + [8, 0, 2, 0, 10, 0, 0, 1])
  }

  @Test func `several messages of one datagram are read`() {
    let own = LinkAddress(IPAddress(10, 0, 0, 1), prefixLength: 24, link: 7)
    #expect(
      parse(link + address + message(24, []) + message(3, [])) == [
        .event(.linkChanged(name: "ab", index: 7, isUp: true, mtu: 1500)), .event(.addressRemoved(own)), .route,
        .other,
      ])
  }

  @Test func `truncated datagrams and random bytes never trap`() {
    let whole = link + address
    for count in 0..<whole.count { _ = parse(Array(whole.prefix(count))) }
    var random = SeededRandom(seed: 11)
    for _ in 0..<20_000 {
      var bytes = whole
      for _ in 0..<4 { bytes[Int(random.next() % UInt64(bytes.count))] = UInt8(truncatingIfNeeded: random.next()) }
      _ = parse(bytes)
    }
  }
}
