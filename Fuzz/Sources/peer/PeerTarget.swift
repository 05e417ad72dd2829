import Crypto
import Framing
import FuzzDriver
import Primitives

@testable import Proxy

/// One end of a session, and a peer that says anything: frames in records whose tags are good. The end keeps within
/// its bounds, finds fault or goes on, and gives all memory back.
@main enum PeerTarget: FuzzTarget {
  static func run(_ bytes: UnsafeBufferPointer<UInt8>) {
    AEAD.isOff = true
    var script = Script(bytes)
    guard var run = try? PeerRun(&script) else { return check(false, "a session") }
    run.drive(&script)
    run.close()
  }
}

struct PeerRun: ~Copyable {
  private var session: Session
  private var pool: SlabPool
  private var lane = SlabLane()
  private var output = SliceQueue()
  private let limits: SessionLimits
  private let isLink: Bool
  private var now = Instant(nanoseconds: 1_000_000_000)
  private var ids: [StreamID] = []
  private var held: [(id: StreamID, slice: Slice)] = []
  private var record: [UInt8] = []
  private var hasFailed = false
  private var peerHasEnded = false

  private static let secret: SecretBytes = {
    guard let secret = try? SecretBytes(copying: [UInt8](repeating: 1, count: 32).span) else { fatalError("no secret") }
    return secret
  }()

  init(_ script: inout Script) throws {
    let flags = script.byte()
    isLink = flags & 1 != 0
    var limits = SessionLimits()
    limits.streams = 1 + Int(flags >> 4)
    limits.controlFrames = flags & 2 != 0 ? 4 : 64
    limits.datagramQueue = 40_000
    limits.partialDatagrams = 1 + Int(flags >> 2 & 3)
    limits.memoryBudget = 1 << 20
    limits.maximumWindow = 512 * 1024
    limits.rekey = RekeyPolicy(records: 8)
    self.limits = limits
    session = try Session(
      role: isLink ? .link : .site, secrets: RecordSecrets(send: Self.secret, receive: Self.secret), limits: limits,
      now: Instant(nanoseconds: 1_000_000_000))
    pool = SlabPool(slabSize: 128 * 1024, limit: 16)
  }

  mutating func drive(_ script: inout Script) {
    var steps = 0
    while !script.isAtEnd, !hasFailed, steps < 300 {
      steps += 1
      step(&script)
      takeEvents()
      checkBounds()
    }
    flush(split: 0)
    takeEvents()
    checkBounds()
  }

  private mutating func step(_ script: inout Script) {
    let operation = script.byte()
    switch operation & 0x1F {
    case 0...11: frame(&script, type: UInt8(1 + script.choice(18)), continued: operation >> 5)
    case 12: frame(&script, type: FrameType.data.rawValue, continued: 0)
    case 13: frame(&script, type: FrameType.datagram.rawValue, continued: operation >> 5 & 1)
    case 14: open(&script)
    case 15, 16: flush(split: Int(script.byte()))
    case 17:
      // Bytes that may be no frame.
      let bytes = script.take(script.choice(64))
      record.append(contentsOf: bytes)
    case 18: fill()
    case 19:
      guard isLink else { return }
      let transport = TransportProtocol.allCases[script.choice(3)]
      if let id = try? session.open(OpenRequest(agent: "a", transport: transport, port: 1), tag: 0) { ids.append(id) }
    case 20: if let id = id(script.byte()) { session.accept(id) }
    case 21: if let id = id(script.byte()) { session.refuse(id, Refusal(.timedOut), pool: &pool) }
    case 22: if let id = id(script.byte()) { session.reset(id, .reset, pool: &pool) }
    case 23: if let id = id(script.byte()) { session.finish(id) }
    case 24:
      guard let id = id(script.byte()), session.contains(id), session.streams[id.slot].kind.isByteStream,
        let slice = payload(min(session.sendCredit(id), 300 * script.choice(256)))
      else {
        return
      }
      try? session.send(id, slice, pool: &pool)
    case 25:
      guard let id = id(script.byte()), let slice = payload(257 * script.choice(256)) else { return }
      session.sendDatagram(id, slice, pool: &pool)
    case 26: consume(script.choice(32))
    case 27:
      now = now + .milliseconds(Int64(script.byte()) * 8)
      do throws(SessionError) { try session.handleTimeout(now: now) } catch { hasFailed = true }
    case 28:
      if let id = id(script.byte()) {
        session.announce(ListenAnswer(endpoint: Endpoint(IPAddress(1, 2, 3, 4), 9)), for: id)
      }
    case 29: session.end("bye")
    case 30:
      if isLink, let id = id(0), let other = try? session.listen(ListenRequest(control: id), tag: 1) {
        ids.append(other)
      }
    default: _ = script.flag() ? session.trim() : session.resetSlowestReader(pool: &pool)
    }
  }

  private func id(_ choice: UInt8) -> StreamID? { ids.isEmpty ? nil : ids[Int(choice) % ids.count] }

  private mutating func payload(_ count: Int) -> Slice? {
    pool.reserve(count, in: &lane).map { pool.commit($0, count: count, in: &lane) }
  }

  // MARK: What the peer says

  private mutating func append(_ type: UInt8, _ flags: UInt8, _ stream: StreamID, _ payload: [UInt8]) {
    if record.count + 8 + payload.count > RecordHeader.maximumPlaintext { flush(split: 0) }
    record += [type, flags, UInt8(payload.count >> 8), UInt8(truncatingIfNeeded: payload.count)]
    record += (0..<4).map { UInt8(truncatingIfNeeded: stream.rawValue >> UInt32(24 - 8 * $0)) }
    record += payload
  }

  private mutating func frame(_ script: inout Script, type: UInt8, continued: UInt8) {
    let which = script.byte()
    let stream =
      which < 0xF0 ? id(which) ?? StreamID(slot: Int(which & 7), tenant: 1) : StreamID(rawValue: script.long())
    let size = Int(script.byte())
    let count = size < 200 ? size : (size - 199) * 290
    var payload = [UInt8](script.take(min(count, 24)))
    if count > payload.count { payload += [UInt8](repeating: 0, count: count - payload.count) }
    append(type, continued & 1 | (continued == 7 ? 2 : 0), stream, payload)
  }

  private mutating func open(_ script: inout Script) {
    let id = StreamID(slot: 1 + script.choice(24), tenant: UInt16(script.choice(4)))
    let kind = StreamProtocol.allCases[script.choice(6)]
    if script.flag() {
      append(FrameType.listen.rawValue, 0, id, ListenRequest(control: id).bytes)
    } else {
      append(FrameType.open.rawValue, 0, id, OpenRequest(agent: "plc", protocol: kind).bytes)
    }
  }

  /// Sends the record, in one piece or two.
  private mutating func flush(split: Int) {
    guard !record.isEmpty, !hasFailed else { return }
    let count = min(record.count, RecordHeader.maximumPlaintext)
    var bytes: [UInt8] = [0x17, 3, 3, UInt8((count + 16) >> 8), UInt8(truncatingIfNeeded: count + 16)]
    bytes += record.prefix(count) + [UInt8](repeating: 0, count: 16)
    record = []
    let cut = split == 0 ? bytes.count : min(split, bytes.count)
    for part in [bytes[..<cut], bytes[cut...]] where !part.isEmpty && !hasFailed { deliver(part) }
  }

  private mutating func deliver(_ bytes: ArraySlice<UInt8>) {
    var rest = bytes
    while !rest.isEmpty, !hasFailed {
      guard let target = session.readTarget(pool: &pool) else {
        // No memory: the owner lets go of what it holds.
        guard !held.isEmpty else { return }
        consume(.max)
        continue
      }
      let count = min(rest.count, target.count)
      let head = min(count, target.first.count)
      rest.prefix(head).withUnsafeBufferPointer { pool.put($0, at: target.first) }
      if let second = target.second {
        rest.dropFirst(head).prefix(count - head).withUnsafeBufferPointer { pool.put($0, at: second) }
      }
      do throws(SessionError) {
        try session.received(count, in: target, pool: &pool, now: now)
      } catch {
        hasFailed = true
        check(!error.description.isEmpty, "whoever is at fault is told")
        if case .misuse = error { check(false, "the peer's fault is taken for this end's: \(error)") }
      }
      rest = rest.dropFirst(count)
      takeEvents()
    }
  }

  // MARK: This end

  private mutating func takeEvents() {
    while let event = session.nextEvent() {
      check(!peerHasEnded || !Self.isFromPeer(event), "nothing comes behind the end")
      switch event {
      case .openRequested(let id), .listenRequested(let id):
        check(!isLink, "a link is never asked")
        let hasRequest = session.request(of: id) != nil || session.listenRequest(of: id) != nil
        check(hasRequest || !session.contains(id), "a request that stands has one")
        ids.append(id)
        if ids.count > 64 { ids.removeFirst(32) }
      case .data(let id, let slice), .datagram(let id, let slice), .echo(let id, let slice): held.append((id, slice))
      case .ethernet(let id, let slice, isContinued: _): held.append((id, slice))
      case .ended: peerHasEnded = true
      default: break
      }
    }
  }

  private static func isFromPeer(_ event: SessionEvent) -> Bool {
    switch event {
    case .closed, .reset: false
    default: true
    }
  }

  private mutating func consume(_ limit: Int) {
    for _ in 0..<min(limit, held.count) {
      let (id, slice) = held.removeFirst()
      session.consumed(id, slice.count, now: now)
      pool.release(slice)
    }
  }

  private mutating func fill() {
    do throws(SessionError) {
      try session.fill(&output, limit: 64 * 1024, pool: &pool, now: now)
    } catch {
      check(false, "what this end has to say can be sealed: \(error)")
    }
    output.removeAll(pool: &pool)
  }

  private func checkBounds() {
    var (windows, open) = (0, 0)
    for slot in session.streams.indices where session.streams[slot].phase != .free {
      open += 1
      windows += session.streams[slot].receive.size
      check(session.streams[slot].receive.held <= session.streams[slot].receive.size, "no more held than the window")
      check(session.streams[slot].queuedBytes >= 0, "queues are counted")
      if !session.streams[slot].kind.isByteStream {
        check(session.streams[slot].queuedBytes <= limits.datagramQueue, "datagrams wait within their bound")
      }
    }
    check(open == session.streamCount && windows == session.windowTotal, "streams and windows are counted")
    // One more for each refusal that waits to be said.
    check(open <= limits.streams + 2 * limits.controlFrames + 2, "streams within their bound")
    check(session.controls.count <= 2 * limits.controlFrames + limits.streams + 64, "control frames within their bound")
    check(session.partialDatagrams >= 0 && session.partialDatagrams <= limits.partialDatagrams, "datagrams in part")
  }

  mutating func close() {
    for (_, slice) in held { pool.release(slice) }
    output.removeAll(pool: &pool)
    session.close(pool: &pool)
    pool.close(&lane)
    check(pool.isQuiet, "every slab is back")
  }
}

extension PeerTarget {
  static var seeds: [[UInt8]] {
    // As a site: OPEN, accept, DATA, FINISH. As a link: open, OPENED, DATA, WINDOW, RESET.
    let open: [UInt8] = [14, 0, 0, 0, 0, 15, 0]
    let work: [UInt8] = [20, 0, 12, 0, 50] + [UInt8](repeating: 7, count: 24) + [15, 9, 26, 4, 18]
    let datagrams: [UInt8] =
      [14, 1, 0, 1, 0, 15, 0, 20, 0, 0x2D, 0, 255] + [UInt8](repeating: 1, count: 24) + [13, 0, 9]
    var seeds: [[UInt8]] = [
      [0x40] + open + work, [0x40] + datagrams + [15, 0, 25, 0, 99, 18], [0x40] + open + [21, 0, 18],
      [0x40] + open + [22, 0, 18], [0x41] + [19, 0, 18, 0, 1, 0, 0, 15, 0, 24, 0, 9, 18, 26, 1],
      [0x41] + [19, 0, 18, 0, 2, 0, 1, 6, 15, 0], [0x40, 17, 20] + [UInt8](repeating: 9, count: 20) + [15, 0],
    ]
    for type in UInt8(0)..<18 {
      seeds.append([0x40] + open + [20, 0, 0, type, 0, 8, 0, 0, 0, 0, 0, 9, 0, 0, 15, 0, 18])
    }
    for type in UInt8(0)..<18 { seeds.append([0x41, 19, 0, 18, 0, type, 0, 8, 0, 0, 0, 0, 0, 9, 0, 0, 15, 0, 18]) }
    return seeds
  }
}
