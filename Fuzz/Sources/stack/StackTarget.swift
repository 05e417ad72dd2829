import FuzzDriver
import Packet
import Primitives

@testable import Stack

/// Two stacks and a link that the input drives: it says what the applications do, and which packet arrives when, twice,
/// never or with a flipped bit. Every byte arrives in order or the connection is reset; and on a link that has become
/// good, everything ends.
@main enum StackTarget: FuzzTarget {
  nonisolated(unsafe) static var pool = SlabPool(slabSize: 128 * 1024, limit: 96)

  static func run(_ bytes: UnsafeBufferPointer<UInt8>) {
    var script = Script(bytes)
    var run = LinkRun(&script)
    run.drive(&script)
    run.settle()
    run.end()
  }
}

struct LinkRun: ~Copyable {
  private struct Packet {
    var slice: Slice
    var offload: Offload
  }

  private var first: Host
  private var second: Host
  private var toFirst: [Packet] = []
  private var toSecond: [Packet] = []
  private var lane = SlabLane()
  private var sendLane = SlabLane()
  private var now = Instant(nanoseconds: 1_000_000_000)
  private var opened = 0
  /// Whether the link did something that may break a connection.
  private var isLossy = false
  private let isV6: Bool

  init(_ script: inout Script) {
    let flags = script.byte()
    isV6 = flags & 1 != 0
    var configuration = StackConfiguration()
    configuration.checksumOffload = flags & 2 != 0
    configuration.segmentationOffload = flags & 4 != 0
    configuration.selectiveAcknowledgements = flags & 8 == 0
    configuration.timestamps = flags & 16 == 0
    configuration.congestion = flags & 32 != 0 ? .reno : .none
    configuration.keepAlive = flags & 64 != 0 ? .seconds(20) : nil
    configuration.mtu = isV6 ? 1280 : 576 + 8 * script.choice(200)
    configuration.maximumReceiveWindow = 1 << (10 + script.choice(10))
    configuration.initialReceiveCredit = configuration.maximumReceiveWindow
    configuration.limits.outOfOrderSegments = 1 + script.choice(32)
    configuration.limits.tcpFlows = 6
    configuration.limits.halfOpen = 4
    configuration.limits.timeWait = 3
    first = Host(configuration, isFirst: true, isV6: isV6)
    configuration.mtu = isV6 ? 1280 : 576 + 8 * script.choice(200)
    configuration.maximumSlices = 1 + script.choice(16)
    second = Host(configuration, isFirst: false, isV6: isV6)
  }

  mutating func drive(_ script: inout Script) {
    open()
    var steps = 0
    while !script.isAtEnd, steps < 400 {
      steps += 1
      step(&script)
      first.checkBounds()
      second.checkBounds()
    }
  }

  private mutating func step(_ script: inout Script) {
    let operation = script.byte()
    let atFirst = operation & 0x80 != 0
    switch operation & 0x1F {
    case 0: open()
    case 1, 2: act(atFirst, &script) { $0.send($1, 1 + Int($2), pool: &$3, lane: &$4, now: $5) }
    case 3, 4: act(atFirst, &script) { $0.send($1, 1 + Int($2) * 64, pool: &$3, lane: &$4, now: $5) }
    case 5: act(atFirst, &script) { host, index, _, _, _, now in host.finish(index, now: now) }
    case 6:
      act(atFirst, &script) { host, index, value, _, _, now in
        host.stack.setReceiveCredit(host.applications[index].flow, Int(value) * 128, now: now)
      }
    case 7:
      act(atFirst, &script) { host, index, value, pool, _, now in
        guard value & 0xF0 == 0xF0, !host.applications[index].isOver else { return }
        host.applications[index].wasAborted = true
        host.stack.abort(host.applications[index].flow, pool: &pool, now: now)
      }
    case 8:
      act(false, &script) { host, index, value, pool, _, now in
        guard value & 0xF0 == 0xF0, !host.applications[index].isOver, !host.applications[index].isAccepted else {
          return
        }
        host.applications[index].wasAborted = true
        let how: Refusal = [.reset, .silent, .unreachable(.host), .unreachable(.adminProhibited)][Int(value & 3)]
        host.stack.refuse(host.applications[index].flow, how, pool: &pool, now: now)
      }
    case 9: accept()
    case 10...14: deliver(atFirst, Int(operation & 0x60) >> 5)
    case 15: deliver(atFirst, script.choice(64))
    case 16: drop(atFirst, script.choice(64))
    case 17: duplicate(atFirst, script.choice(64))
    case 18: flip(atFirst, script.choice(64), Int(script.word()))
    case 19: advance(.microseconds(Int64(script.byte())))
    case 20: advance(.milliseconds(Int64(script.byte())))
    case 21: advance(.milliseconds(100 * Int64(script.byte())))
    case 22: advanceToDeadline()
    case 23:
      if atFirst {
        first.stack.dropUnordered(pool: &StackTarget.pool)
      } else {
        second.stack.dropUnordered(pool: &StackTarget.pool)
      }
    case 24: _ = atFirst ? first.stack.trim() : second.stack.trim()
    default:
      // All that is under way arrives, in order: most of what makes a run go on.
      while !toFirst.isEmpty { deliver(true, 0) }
      while !toSecond.isEmpty { deliver(false, 0) }
    }
    collect()
  }

  private mutating func open() {
    guard opened < 6 else { return }
    first.connect(opened, now: now)
    opened += 1
    collect()
  }

  private mutating func accept() {
    for index in second.applications.indices where !second.applications[index].isAccepted {
      guard !second.applications[index].isOver else { continue }
      second.applications[index].isAccepted = true
      second.stack.accept(second.applications[index].flow, pool: &StackTarget.pool, now: now)
    }
  }

  private mutating func act(
    _ atFirst: Bool, _ script: inout Script,
    _ body: (inout Host, Int, UInt8, inout SlabPool, inout SlabLane, Instant) -> Void
  ) {
    let (which, value) = (script.byte(), script.byte())
    if atFirst {
      guard !first.applications.isEmpty else { return }
      body(&first, Int(which) % first.applications.count, value, &StackTarget.pool, &sendLane, now)
    } else {
      guard !second.applications.isEmpty else { return }
      body(&second, Int(which) % second.applications.count, value, &StackTarget.pool, &sendLane, now)
    }
  }

  // MARK: The link

  /// Takes what both ends send. What the link has no room for is lost.
  private mutating func collect() {
    Self.collect(&first, into: &toSecond, lane: &lane, now: now, &isLossy)
    Self.collect(&second, into: &toFirst, lane: &lane, now: now, &isLossy)
  }

  private static func collect(
    _ host: inout Host, into link: inout [Packet], lane: inout SlabLane, now: Instant, _ isLossy: inout Bool
  ) {
    while host.stack.nextTransmit(into: &host.transmit, pool: &StackTarget.pool, now: now) {
      check(host.transmit.count <= 65_535, "a packet's size")
      guard link.count < 128, let region = StackTarget.pool.reserve(host.transmit.count, in: &lane) else {
        isLossy = true
        host.transmit.clear(pool: &StackTarget.pool)
        continue
      }
      let packet = StackTarget.pool.commit(region, count: host.transmit.count, in: &lane)
      host.transmit.withHeader { header in
        header.withUnsafeBufferPointer { StackTarget.pool.put($0, at: packet) }
      }
      var offset = host.transmit.headerCount
      for slice in host.transmit.payload {
        StackTarget.pool.copyBytes(of: slice, to: packet.range(from: offset, count: slice.count))
        offset += slice.count
      }
      let offload = host.transmit.offload
      verify(packet, offload, mtu: host.stack.configuration.mtu)
      link.append(Packet(slice: packet, offload: offload))
      host.transmit.clear(pool: &StackTarget.pool)
    }
  }

  /// What a stack sends can be read, has the checksums that it says it has, and fits the device.
  private static func verify(_ packet: Slice, _ offload: Offload, mtu: Int) {
    StackTarget.pool.withSpan(packet) { bytes in
      do throws(ParseError) {
        let parsed = try ParsedPacket(parsing: bytes)
        check(parsed.totalLength == bytes.count, "all of it is the packet")
        if offload.checksum == .complete { try parsed.verifyChecksum(in: bytes) }
      } catch {
        check(false, "a stack sent what isn't a packet: \(error)")
      }
      check(offload.segmentation != .none || bytes.count <= mtu, "a packet of \(bytes.count) fits \(mtu)")
    }
  }

  private mutating func deliver(_ atFirst: Bool, _ index: Int) {
    if atFirst {
      guard !toFirst.isEmpty else { return }
      Self.deliver(toFirst.remove(at: index % toFirst.count), to: &first, now: now)
    } else {
      guard !toSecond.isEmpty else { return }
      Self.deliver(toSecond.remove(at: index % toSecond.count), to: &second, now: now)
    }
  }

  private static func deliver(_ packet: Packet, to host: inout Host, now: Instant) {
    host.stack.receive(packet.slice, offload: packet.offload, pool: &StackTarget.pool, now: now)
    StackTarget.pool.release(packet.slice)
    host.takeEvents(pool: &StackTarget.pool)
  }

  private mutating func drop(_ atFirst: Bool, _ index: Int) {
    guard !(atFirst ? toFirst.isEmpty : toSecond.isEmpty) else { return }
    isLossy = true
    let packet =
      atFirst ? toFirst.remove(at: index % toFirst.count) : toSecond.remove(at: index % toSecond.count)
    StackTarget.pool.release(packet.slice)
  }

  private mutating func duplicate(_ atFirst: Bool, _ index: Int) {
    guard !(atFirst ? toFirst.isEmpty : toSecond.isEmpty) else { return }
    let packet = atFirst ? toFirst[index % toFirst.count] : toSecond[index % toSecond.count]
    StackTarget.pool.retain(packet.slice)
    if atFirst { toFirst.append(packet) } else { toSecond.append(packet) }
  }

  /// One bit is found by every checksum, if there is one: with checksums offloaded nobody would look.
  private mutating func flip(_ atFirst: Bool, _ index: Int, _ bit: Int) {
    guard !(atFirst ? toFirst.isEmpty : toSecond.isEmpty) else { return }
    let place = index % (atFirst ? toFirst.count : toSecond.count)
    let packet = atFirst ? toFirst[place] : toSecond[place]
    guard packet.offload.checksum == .complete, let copy = StackTarget.pool.copy(packet.slice, in: &lane) else {
      return
    }
    isLossy = true
    StackTarget.pool.withMutableSpan(copy) { $0[bit / 8 % copy.count] ^= 1 << UInt8(bit % 8) }
    StackTarget.pool.release(packet.slice)
    if atFirst { toFirst[place].slice = copy } else { toSecond[place].slice = copy }
  }

  private mutating func advance(_ interval: Interval) {
    now = now + interval
    first.stack.handleTimeout(pool: &StackTarget.pool, now: now)
    second.stack.handleTimeout(pool: &StackTarget.pool, now: now)
    first.takeEvents(pool: &StackTarget.pool)
    second.takeEvents(pool: &StackTarget.pool)
    collect()
  }

  private mutating func advanceToDeadline() {
    guard let deadline = Instant.earliest(first.stack.nextDeadline, second.stack.nextDeadline) else { return }
    advance(deadline > now ? deadline - now : .zero)
  }

  // MARK: The end

  /// The link is good from here on, applications read at once and say nothing more: everything comes to its end.
  mutating func settle() {
    var rounds = 0
    while !isSettled {
      rounds += 1
      check(rounds < 4000, "a connection never ends")
      accept()
      for index in first.applications.indices { Self.wind(&first, index, now) }
      for index in second.applications.indices { Self.wind(&second, index, now) }
      collect()
      var moved = false
      while !toFirst.isEmpty || !toSecond.isEmpty {
        moved = true
        if !toSecond.isEmpty { deliver(false, 0) } else { deliver(true, 0) }
        if toFirst.isEmpty, toSecond.isEmpty { collect() }
      }
      if !moved { advanceToDeadline() }
    }
  }

  private var isSettled: Bool {
    toFirst.isEmpty && toSecond.isEmpty && first.applications.allSatisfy(\.isOver)
      && second.applications.allSatisfy(\.isOver)
  }

  private static func wind(_ host: inout Host, _ index: Int, _ now: Instant) {
    guard !host.applications[index].isOver else { return }
    host.stack.setReceiveCredit(host.applications[index].flow, 1 << 20, now: now)
    if !host.applications[index].hasFinished { host.finish(index, now: now) }
  }

  mutating func end() {
    for application in first.applications where application.isClosed {
      // A reset of the other end may cross with the last acknowledgement; whoever has closed has had everything.
      if let other = second.applications.last(where: { $0.number == application.number }) {
        check(other.sent == application.received || other.isOver && !other.isClosed, "all bytes of the second end")
        check(application.sent == other.received || other.isOver && !other.isClosed, "all bytes of the first end")
      }
    }
    for application in second.applications where application.isClosed {
      if let other = first.applications.last(where: { $0.number == application.number }), other.isClosed {
        check(other.sent == application.received && application.sent == other.received, "both ends have had all")
      }
    }
    first.stack.removeAll(pool: &StackTarget.pool)
    second.stack.removeAll(pool: &StackTarget.pool)
    first.transmit.clear(pool: &StackTarget.pool)
    second.transmit.clear(pool: &StackTarget.pool)
    StackTarget.pool.close(&lane)
    StackTarget.pool.close(&sendLane)
    check(StackTarget.pool.isQuiet, "every slab is back")
  }
}

extension StackTarget {
  static var seeds: [[UInt8]] {
    // The end in bit 7; 0x1F delivers everything.
    let open: [UInt8] = [0x1F, 9, 0x1F, 0x1F]
    let header: [UInt8] = [0, 100, 8, 16, 100, 4]
    let send: [UInt8] = [0x83, 0, 40, 0x1F, 3, 0, 60, 0x1F, 0x81, 0, 10, 1, 0, 9, 0x1F]
    let finish: [UInt8] = [0x85, 0, 0, 0x1F, 5, 0, 0, 0x1F]
    let loss: [UInt8] = [0x83, 0, 255, 0x83, 0, 255, 16, 1, 10, 42, 10, 0x8A, 0x8A, 22, 0x1F, 22, 0x1F]
    let order: [UInt8] = [0x83, 0, 200, 15, 3, 15, 2, 15, 1, 0x1F, 0x8F, 1, 0x1F]
    let twice: [UInt8] = [0x83, 0, 200, 17, 0, 17, 1, 18, 0, 1, 9, 0x1F, 21, 50, 0x1F]
    let slow: [UInt8] = [6, 0, 0, 0x83, 0, 255, 0x1F, 22, 0x1F, 22, 0x1F, 6, 0, 255, 0x1F]
    var seeds: [[UInt8]] = []
    for flags: UInt8 in [0, 1, 2, 6, 7, 8, 16, 24, 32, 33, 38, 64] {
      let header = [flags] + header.dropFirst()
      seeds.append(header + open + send + finish)
      seeds.append(header + open + loss + finish)
      seeds.append(header + open + order + twice + finish)
    }
    seeds.append(header + open + slow + finish)
    seeds.append(header + open + send + [0x87, 0, 0xFF, 0x1F])
    seeds.append(header + [0x1F, 8, 0, 0xF0, 0x1F])
    seeds.append(header + [0, 0, 0, 0x1F, 8, 1, 0xF2, 0x1F, 9, 0x1F] + send + finish)
    return seeds
  }
}
