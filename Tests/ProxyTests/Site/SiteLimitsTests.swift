import CLinux
import Framing
import Glibc
import Kernel
import Primitives
import Synchronization
import Testing

@testable import Proxy

/// What happens at each bound of `SiteLimits`, with real sockets on 127.0.0.0/8.
@Suite(.serialized, .timeLimit(.minutes(2))) struct SiteLimitsTests {
  private static let local = IPAddress(127, 0, 0, 1)

  /// A listener that nobody accepts from: its kernel takes one connection, and drops what asks for more.
  private static func fullListener() throws -> OwnedDescriptor {
    try Socket.listen(on: Endpoint(local, 0), backlog: 0)
  }

  @Test func dialsUnderWayAreBoundedAndEndInTime() throws {
    let listener = try Self.fullListener()
    let silent = Socket.localEndpoint(listener)!
    let server = try LocalServer.echo(connections: 3)
    var limits = SiteLimits()
    limits.dialling = 3
    limits.dialTimeout = .milliseconds(1500)
    var link = try LinkEnd.join(
      rules: [LinkEnd.rule("silent", silent), LinkEnd.rule("echo", server.endpoint)], limits: limits)
    let live = try link.reach("echo", server.endpoint.port)
    _ = try link.reach("silent", silent.port)
    let dials = try (0..<4).map { _ in try link.open("silent", silent.port) }
    let refusal = try link.refusal(of: dials[3])
    #expect(refusal == Refusal(.tooMany, "3 dials are under way"))
    // While all dials wait: flows that are there go on, and datagrams need none.
    #expect(try link.echoes(live))
    // No tool waits as long as the kernel would, and the places are free again.
    for dial in dials[..<3] {
      #expect(try link.refusal(of: dial)?.reason == .timedOut)
    }
    _ = try link.reach("echo", server.endpoint.port)
    #expect(try link.echoes(live))
    try link.run(for: .milliseconds(300))
    #expect(link.site.status.refusals["\(Refusal.Reason.tooMany)"] == 1)
    #expect(link.site.status.refusals["\(Refusal.Reason.timedOut)"] == 3)
    #expect(link.close() == 0)
    _ = consume listener
  }

  /// A device that doesn't take the last of a finished stream has so long for it, and doesn't take its end for the end of
  /// the data.
  @Test func lastBytesForADeafDeviceWaitSoLong() throws {
    let listener = try Self.fullListener()
    let deaf = Socket.localEndpoint(listener)!
    try Socket.setOption(listener, SOL_SOCKET, SO_RCVBUF, 4096)
    var limits = SiteLimits()
    limits.drainTimeout = .milliseconds(1500)
    var link = try LinkEnd.join(rules: [LinkEnd.rule("deaf", deaf)], limits: limits)
    let id = try link.reach("deaf", deaf.port)
    guard let device = try Socket.accept(from: listener) else { throw LinkEnd.Late() }
    // All that the device's kernel, the site's and the window take, and both ends finish.
    var stalledSince = Clock.now
    while Clock.now - stalledSince < .milliseconds(500) {
      let count = min(link.peer.session.sendCredit(id), 64 * 1024)
      if count > 0 {
        try link.send(id, [UInt8](repeating: 1, count: count))
        stalledSince = Clock.now
      }
      try link.run(for: .milliseconds(10))
    }
    link.peer.session.finish(id)
    Socket.finish(device)
    _ = try link.next { $0 == .closed(id) }
    let start = Clock.now
    while link.flows.ends.isEmpty, Clock.now - start < .seconds(8) { try link.run(for: .milliseconds(100)) }
    #expect(link.flows.ends == [.timedOut(.device)])
    #expect(Clock.now - start >= .milliseconds(1400))
    // A reset, and not the end.
    try device.setNonblocking(false)
    #expect(throws: WaitError.self) { _ = try readToEnd(device) }
    #expect(link.close() == 0)
  }

  @Test func aDeviceIsReadInPiecesAndNoFurtherThanItsReader() throws {
    let server = try LocalServer { socket in
      let bytes = [UInt8](repeating: 1, count: 65_536)
      while (try? write(bytes, to: socket)) != nil {}
    }
    var limits = SiteLimits()
    limits.readSize = 16 * 1024
    var link = try LinkEnd.join(rules: [LinkEnd.rule("source", server.endpoint)], limits: limits)
    let id = try link.reach("source", server.endpoint.port)
    do { _ = try link.next(until: Clock.now + .milliseconds(1500), consumes: false) { _ in false } } catch is LinkEnd
      .Late
    {}
    let status = link.site.status
    #expect(status.payloadReadBytes == UInt64(SessionLimits.initialWindow))
    #expect(status.payloadReadBytes / max(1, status.payloadReads) <= UInt64(limits.readSize))
    link.peer.session.reset(id, .reset, pool: &link.pool)
    try link.run(for: .milliseconds(100))
    #expect(link.close() == 0)
  }

  /// A reader of the connection that stands still: the kernel holds so much unsent, the session so much sealed, and what
  /// the devices have besides stays with them.
  @Test func whatTheConnectionDoesntTakeIsBounded() throws {
    let server = try LocalServer(connections: 20) { socket in
      let fd = try? socket.duplicate().release()
      _ = try? Thread(name: "source") {
        guard let fd else { return }
        let socket = OwnedDescriptor(owning: fd)
        let bytes = [UInt8](repeating: 1, count: 65_536)
        while (try? write(bytes, to: socket)) != nil {}
      }
    }
    var link = try LinkEnd.join(rules: [LinkEnd.rule("source", server.endpoint)])
    for _ in 0..<20 { _ = try link.open("source", server.endpoint.port) }
    // Opened, and then not a byte is read.
    try link.connection.flush(&link.peer, pool: &link.pool, now: Clock.now)
    Thread.sleep(.milliseconds(1500))
    let status = link.site.status
    #expect(status.queues.sealed <= 256 * 1024 + RecordHeader.maximumRecord, "\(status.queues)")
    #expect(status.pool.slabsInUse < 64, "\(status.pool)")
    // 20 windows in all, wherever they are.
    #expect(status.payloadReadBytes <= UInt64(20 * SessionLimits.initialWindow))
    try link.run(for: .seconds(1))
    #expect(link.site.status.payloadReadBytes > status.payloadReadBytes, "it goes on")
    #expect(link.close() == 0)
  }

  @Test func theKernelHoldsLittleUnsent() throws {
    let listener = try Socket.listen(on: Endpoint(Self.local, 0))
    let near = try Socket.connect(to: Socket.localEndpoint(listener)!)
    try Socket.setUnsentLimit(near, bytes: 256 * 1024)
    try near.wait(for: .writable, until: soon)
    let bytes = [UInt8](repeating: 1, count: 64 * 1024)
    while case .moved = try near.write(bytes.span) {}
    var unsent: CInt = 0
    // SIOCOUTQNSD: what was written and not sent.
    #expect(unsafe ioctl(near.rawValue, 0x894B, &unsent) == 0)
    #expect(unsent <= 256 * 1024 + 64 * 1024)
  }

  // MARK: Datagrams

  /// A device that bursts faster than it is read: the kernel's buffer is full at some time, and all that is lost is
  /// counted.
  @Test func unreadDatagramsOfADeviceAreBoundedAndCounted() throws {
    let count = 20_000
    let isSent = Flag()
    let device = try DatagramServer { socket, source in
      for _ in 0..<count { try? Socket.send([UInt8](repeating: 1, count: 1000).span, to: source, from: socket) }
      isSent.set()
    }
    var limits = SiteLimits()
    limits.datagramBuffer = 8192
    var link = try LinkEnd.join(rules: [LinkEnd.rule("burst", device.endpoint)], limits: limits)
    let id = try link.reach("burst", device.endpoint.port, .udp)
    try link.send(id, [1])
    var arrived = 0
    var last = Clock.now
    while !isSent.isSet || Clock.now - last < .seconds(1) {
      do {
        _ = try link.next(until: Clock.now + .milliseconds(200)) {
          if case .datagram(id, _) = $0 { true } else { false }
        }
        arrived += 1
        last = Clock.now
      } catch is LinkEnd.Late {}
    }
    link.peer.session.reset(id, .reset, pool: &link.pool)
    try link.run(for: .milliseconds(1500))
    let drops = link.site.status.drops
    #expect((drops["receive buffer full"] ?? 0) > 0, "\(drops), \(arrived) arrived")
    let lost = (drops["receive buffer full"] ?? 0) + (drops["datagram queue full"] ?? 0)
    #expect(arrived + Int(lost) == count, "\(drops), \(arrived) arrived")
    #expect(link.close() == 0)
  }

  /// A device that floods has its turns, and others between them.
  @Test func aFloodOfOneDeviceLeavesOthersTheirTurn() throws {
    let flood = try DatagramServer { socket, source in
      let end = Clock.now + .seconds(4)
      while Clock.now < end {
        try? Socket.send([UInt8](repeating: 1, count: 200).span, to: source, from: socket)
      }
    }
    let quiet = try DatagramServer { socket, source in try? Socket.send([2].span, to: source, from: socket) }
    let server = try LocalServer.echo(connections: 1)
    var link = try LinkEnd.join(
      rules: [
        LinkEnd.rule("flood", flood.endpoint), LinkEnd.rule("quiet", quiet.endpoint),
        LinkEnd.rule("echo", server.endpoint),
      ])
    let stream = try link.reach("echo", server.endpoint.port)
    let other = try link.reach("quiet", quiet.endpoint.port, .udp)
    let flooded = try link.reach("flood", flood.endpoint.port, .udp)
    try link.send(flooded, [1])
    _ = try link.next { if case .datagram(flooded, _) = $0 { true } else { false } }
    let start = Clock.now
    for _ in 0..<50 {
      #expect(try link.echoes(stream) && link.echoes(other))
    }
    #expect(Clock.now - start < .seconds(4), "all while the flood lasted")
    #expect(link.close() == 0)
  }

  // MARK: FTP

  /// Listeners for data connections of the device: so many of a control connection and of a session, and so many
  /// strangers.
  @Test func listenersForFTPAreBounded() throws {
    // The device has another address than this host's own, so that a connection from there is a stranger's.
    let address = IPAddress(127, 0, 0, 2)
    let server = try LocalServer.echo(connections: 3, on: address)
    let port = server.endpoint.port
    var limits = SiteLimits()
    limits.ftp.announcements = 2
    limits.ftp.listeners = 3
    limits.ftp.strangers = 2
    limits.ftp.announcementLifetime = .seconds(4)
    var link = try LinkEnd.join(rules: [LinkEnd.rule("ftp", server.endpoint, ftp: true)], limits: limits)
    let (first, second) = (try link.reach("ftp", port), try link.reach("ftp", port))
    func listen(_ link: inout LinkEnd, _ control: StreamID) throws -> StreamID {
      try link.peer.session.listen(ListenRequest(control: control), tag: 0)
    }
    func listening(_ link: inout LinkEnd, _ control: StreamID) throws -> (id: StreamID, endpoint: Endpoint) {
      let id = try listen(&link, control)
      _ = try link.next { $0 == .listening(id) }
      return (id, link.peer.session.listenAnswer(of: id)!.endpoint)
    }
    let one = try listening(&link, first)
    let two = try listening(&link, first)
    // The oldest of a control connection gives way.
    let three = try listen(&link, first)
    #expect(try link.refusal(of: one.id) == Refusal(.tooMany, "a later FTP data connection took its place"))
    _ = try link.next { $0 == .listening(three) }
    let four = try listening(&link, second)
    // Those of the session are all taken.
    let five = try listen(&link, second)
    #expect(try link.refusal(of: five) == Refusal(.tooMany, "the site listens for 3 FTP data connections"))
    // Others than the device are turned away, and from a number on the listener goes with them.
    for _ in 0..<2 {
      let stranger = try Socket.connect(to: four.endpoint)
      try stranger.wait(for: .writable, until: soon)
      try link.run(for: .milliseconds(100))
    }
    let refusal = link.peer.session.refusal(of: four.id)
    #expect(refusal?.reason == .tooMany && refusal?.text.contains("others than the device") == true)
    // The control connections go on, and listeners that nobody came to end in time.
    let command = Array("NOOP\r\n".utf8)
    #expect(try link.echoes(first, command) && link.echoes(second, command))
    #expect(try link.refusal(of: two.id)?.reason == .timedOut)
    try link.run(for: .milliseconds(300))
    #expect(link.site.status.refusals["FTP: stranger"] == 2)
    #expect(link.close() == 0)
  }
}

private final class Flag: Sendable {
  private let value = Atomic(false)
  var isSet: Bool { value.load(ordering: .acquiring) }
  func set() { value.store(true, ordering: .releasing) }
}

/// A device that answers each datagram by a closure.
private final class DatagramServer: Sendable {
  let endpoint: Endpoint

  init(_ answer: @escaping @Sendable (borrowing OwnedDescriptor, Endpoint) -> Void) throws {
    let socket = try Socket.make(.v4, .datagram)
    // A datagram to the discard port gives the socket a port of its own.
    try Socket.send([0].span, to: Endpoint(IPAddress(127, 0, 0, 1), 9), from: socket)
    endpoint = Endpoint(IPAddress(127, 0, 0, 1), Socket.localEndpoint(socket)!.port)
    let fd = socket.release()
    _ = try Thread(name: "datagrams") {
      let socket = OwnedDescriptor(owning: fd)
      var buffer = [UInt8](repeating: 0, count: 65_536)
      let end = Clock.now + .seconds(20)
      while Clock.now < end {
        guard (try? socket.wait(for: .readable, until: Clock.now + .milliseconds(50))) != nil else { continue }
        var span = buffer.mutableSpan
        guard let received = try? Socket.receive(into: &span, from: socket) else { continue }
        answer(socket, received.source)
      }
    }
  }
}
