import Crypto
import Framing
import FuzzDriver
import Primitives

@testable import Proxy

/// Two ends of a session and a connection that cuts its bytes anywhere; the input says what the owners do. Neither end
/// ever finds fault with the other, every byte arrives in order, credits and windows are kept to, and in the end each
/// slab is back.
@main enum SessionTarget: FuzzTarget {
  static func run(_ bytes: UnsafeBufferPointer<UInt8>) {
    var script = Script(bytes)
    guard var run = try? SessionRun(&script) else { return check(false, "two ends") }
    if run.drive(&script) { run.settle() }
    run.close()
  }
}

struct SessionRun: ~Copyable {
  private var link: SessionEndpoint
  private var site: SessionEndpoint
  private let limits: SessionLimits
  private var now = Instant(nanoseconds: 1_000_000_000)
  private var opened: UInt64 = 0

  private static let secrets: [SecretBytes] = (0..<2).map { number in
    guard let secret = try? SecretBytes(copying: [UInt8](repeating: UInt8(number), count: 32).span) else {
      fatalError("no secret")
    }
    return secret
  }

  init(_ script: inout Script) throws {
    let flags = script.byte()
    AEAD.isOff = flags & 1 == 0
    var limits = SessionLimits()
    limits.rekey = RekeyPolicy(records: flags & 2 == 0 ? 1 << 20 : 2 + UInt64(flags >> 5))
    limits.streams = flags & 4 == 0 ? 64 : 3
    limits.datagramQueue = 100_000
    limits.partialDatagrams = 2
    limits.controlFrames = flags & 8 == 0 ? 8192 : 12
    limits.maximumWindow = 512 * 1024
    limits.memoryBudget = 1 << 20
    limits.quantum = flags & 16 == 0 ? 64 * 1024 : 700
    self.limits = limits
    let start = Instant(nanoseconds: 1_000_000_000)
    let (one, other) = (Self.secrets[0], Self.secrets[1])
    let first = try Session(
      role: .link, secrets: RecordSecrets(send: one, receive: other), limits: limits, now: start)
    let second = try Session(
      role: .site, secrets: RecordSecrets(send: other, receive: one), limits: limits, now: start)
    let slabs = 12 + script.choice(32)
    link = SessionEndpoint(first, isLink: true, pool: SlabPool(slabSize: 128 * 1024, limit: slabs))
    site = SessionEndpoint(second, isLink: false, pool: SlabPool(slabSize: 128 * 1024, limit: slabs))
  }

  /// - Returns: whether both ends still believe in each other.
  mutating func drive(_ script: inout Script) -> Bool {
    var steps = 0
    while !script.isAtEnd, steps < 300 {
      steps += 1
      guard step(&script) else { return false }
      link.checkBounds(limits)
      site.checkBounds(limits)
    }
    return true
  }

  private mutating func step(_ script: inout Script) -> Bool {
    let operation = script.byte()
    let atLink = operation & 0x80 != 0
    switch operation & 0x1F {
    case 0: open(script.choice(5))
    case 1: site.answer(script.byte())
    case 2, 3:
      let (which, size) = (script.byte(), Int(script.byte()))
      withEnd(atLink) { end, _ in if let id = end.stream(which) { end.send(id, size + 1) } }
    case 4:
      let (which, size) = (script.byte(), Int(script.byte()))
      withEnd(atLink) { end, _ in if let id = end.stream(which) { end.send(id, size * 512 + 1) } }
    case 5:
      let which = script.byte()
      withEnd(atLink) { end, _ in if let id = end.stream(which) { end.overdraw(id) } }
    case 6:
      let (which, size) = (script.byte(), Int(script.byte()))
      withEnd(atLink) { end, _ in if let id = end.stream(which) { end.sendDatagram(id, size * 257) } }
    case 7:
      let which = script.byte()
      withEnd(atLink) { end, _ in if let id = end.stream(which) { end.finish(id) } }
    case 8:
      let which = script.byte()
      withEnd(atLink) { end, _ in if let id = end.stream(which) { end.reset(id) } }
    case 9:
      let count = Int(script.byte())
      withEnd(atLink) { $0.consume(count, now: $1) }
    case 10:
      // A bit of what is sealed arrives, in pieces of a size.
      let (amount, piece) = (Int(script.byte()) * 128, Int(script.byte()) + 1)
      return carry(fromLink: atLink, limit: 4096, amount: amount, piece: piece)
    case 11: return carry(fromLink: atLink, limit: 256 * 1024, amount: .max, piece: 100_000)
    case 12: now = now + .microseconds(Int64(script.byte()) * 50)
    case 13:
      now = now + .milliseconds(Int64(script.byte()) * 8)
      return tick()
    case 14: withEnd(atLink) { $0.session.sampleRates(now: $1) }
    case 15: withEnd(atLink) { end, _ in _ = end.session.resetSlowestReader(pool: &end.pool) }
    case 16: withEnd(atLink) { end, _ in _ = end.session.trim() }
    case 17: withEnd(atLink) { end, _ in end.pool.trim() }
    case 18:
      guard script.byte() > 0xC0 else { break }
      withEnd(atLink) { end, _ in
        end.hasEnded = true
        end.session.end("so long")
      }
    case 19: withEnd(atLink) { $0.session.probe(now: $1) }
    default:
      for _ in 0..<2 {
        guard carry(fromLink: true, limit: 256 * 1024, amount: .max, piece: 60_000),
          carry(fromLink: false, limit: 256 * 1024, amount: .max, piece: 60_000)
        else { return false }
      }
    }
    link.takeEvents()
    site.takeEvents()
    return true
  }

  private mutating func withEnd(_ atLink: Bool, _ body: (inout SessionEndpoint, Instant) -> Void) {
    if atLink { body(&link, now) } else { body(&site, now) }
  }

  private mutating func open(_ choice: Int) {
    do throws(Refusal) {
      opened += 1
      if choice == 3 {
        guard let control = link.ids.last else { return }
        let id = try link.session.listen(ListenRequest(control: control), tag: opened)
        link.begin(id, .tcp)
        return
      }
      let protocols: [StreamProtocol] = [.tcp, .udp, .icmp]
      let kind = choice == 4 ? .discovery : protocols[choice]
      var request = OpenRequest(agent: "plc", protocol: kind)
      request.port = 80
      let id = try link.session.open(request, tag: opened)
      link.begin(id, kind)
      check(link.session.tag(of: id) == opened, "a stream keeps its owner's name")
      if !kind.isByteStream { link.models[id]?.isOpen = true }
    } catch {
      check(error.reason == .tooMany || error.reason == .sessionEnded, "refused for a bound or an end")
    }
  }

  private mutating func tick() -> Bool {
    do throws(SessionError) {
      try link.session.handleTimeout(now: now)
      try site.session.handleTimeout(now: now)
      return true
    } catch {
      // Nothing was carried for too long: the input's own doing.
      if case .peerSilent = error { return false }
      check(false, "\(error)")
      return false
    }
  }

  // MARK: The connection

  private mutating func carry(fromLink: Bool, limit: Int, amount: Int, piece: Int) -> Bool {
    fromLink
      ? Self.carry(&link, &site, limit: limit, amount: amount, piece: piece, now: now)
      : Self.carry(&site, &link, limit: limit, amount: amount, piece: piece, now: now)
  }

  private static func carry(
    _ from: inout SessionEndpoint, _ to: inout SessionEndpoint, limit: Int, amount: Int, piece: Int, now: Instant
  ) -> Bool {
    do throws(SessionError) {
      try from.session.fill(&from.output, limit: limit, pool: &from.pool, now: now)
      var left = amount
      while left > 0, !from.output.isEmpty, let target = to.session.readTarget(pool: &to.pool) {
        let count = min(min(left, piece), min(from.output.byteCount, target.count))
        move(&from, &to, target, count)
        try to.session.received(count, in: target, pool: &to.pool, now: now)
        left -= count
        to.takeEvents()
      }
      return true
    } catch {
      check(false, "an honest peer is found at fault: \(error)")
      return false
    }
  }

  private static func move(
    _ from: inout SessionEndpoint, _ to: inout SessionEndpoint, _ target: RecordReader.Target, _ count: Int
  ) {
    var done = 0
    while done < count {
      let slice = from.output[0]
      let isSecond = done >= target.first.count
      let region = isSecond ? target.second!.dropping(done - target.first.count) : target.first.dropping(done)
      let part = slice.prefix(min(min(slice.count, region.count), count - done))
      from.pool.withSpan(part) { bytes in bytes.withUnsafeBufferPointer { to.pool.put($0, at: region) } }
      from.output.drop(part.count, pool: &from.pool)
      done += part.count
    }
  }

  // MARK: The end

  /// Both owners take everything and finish their streams: each stream ends on both sides, and the session does.
  mutating func settle() {
    for round in 0..<400 {
      now = now + .milliseconds(1)
      guard carry(fromLink: true, limit: 256 * 1024, amount: .max, piece: 100_000),
        carry(fromLink: false, limit: 256 * 1024, amount: .max, piece: 100_000)
      else { return }
      site.answer(0)
      Self.wind(&link, now)
      Self.wind(&site, now)
      if round > 4, isOver { break }
    }
    // Behind a session's end its streams end unsaid.
    let isEnded = link.hasEnded || site.hasEnded
    check(isOver || isEnded, "every stream ends")
    for (id, model) in link.models where model.isClosed {
      guard let other = site.models[id], other.isClosed else { continue }
      check(model.received == other.sent && other.received == model.sent, "both ends have had all")
    }
    guard !isEnded else { return }
    link.session.end("")
    site.session.end("")
    for _ in 0..<20 {
      guard carry(fromLink: true, limit: 256 * 1024, amount: .max, piece: 100_000),
        carry(fromLink: false, limit: 256 * 1024, amount: .max, piece: 100_000)
      else { return }
    }
    check(link.session.isFinished && site.session.isFinished, "the session ends in order")
    check(!link.session.wasCut && !site.session.wasCut, "nothing was cut off")
  }

  private var isOver: Bool {
    link.models.values.allSatisfy(\.isOver) && site.models.values.allSatisfy(\.isOver)
  }

  private static func wind(_ end: inout SessionEndpoint, _ now: Instant) {
    end.takeEvents()
    end.consume(.max, now: now)
    for id in end.ids {
      guard let model = end.models[id], !model.isOver else { continue }
      if !model.kind.isByteStream {
        if end.isLink { end.reset(id) }
      } else if model.isOpen, !model.hasFinished {
        end.finish(id)
      }
    }
  }

  mutating func close() {
    link.close()
    site.close()
  }
}

extension SessionTarget {
  static var seeds: [[UInt8]] {
    let open: [UInt8] = [0, 0, 0x1F, 1, 0, 0x1F]
    let send: [UInt8] = [0x84, 0, 200, 4, 0, 40, 0x1F, 0x82, 0, 9, 2, 0, 9, 0x1F, 9, 255, 0x89, 255, 0x1F]
    let finish: [UInt8] = [0x87, 0, 0x1F, 7, 0, 0x1F]
    let datagrams: [UInt8] = [0, 1, 0x86, 0, 2, 0x86, 0, 255, 0x86, 0, 100, 0x1F, 1, 0, 6, 0, 200, 0x1F, 8, 0, 0x1F]
    let echoes: [UInt8] = [0, 2, 0x86, 0, 1, 0x1F, 1, 0, 6, 0, 255, 0x1F, 0x88, 0, 0x1F]
    let refused: [UInt8] = [0, 0, 0x1F, 1, 7, 0x1F]
    let listen: [UInt8] = [0, 3, 0x1F, 1, 0, 0x1F, 4, 0, 10, 0x1F]
    let pieces: [UInt8] = [0x84, 0, 90, 0x8A, 3, 0, 0x8A, 1, 4, 0x8A, 255, 200, 10, 4, 2]
    let windows: [UInt8] = (0..<6).flatMap { _ in [0x84, 0, 255, 0x84, 0, 255, 0x1F, 9, 255, 0x1F] as [UInt8] }
    let ends: [UInt8] = [0x92, 0xFF, 0x1F, 0x12, 0xFF, 0x1F]
    let odd: [UInt8] = [0x85, 0, 5, 0, 0x8E, 0x0E, 0x0F, 0x8F, 0x90, 0x10, 0x91, 0x93, 13, 100, 0x1F, 12, 9]
    var seeds: [[UInt8]] = []
    for flags: UInt8 in [0, 1, 2, 3, 0x23, 4, 8, 16, 0xFF] {
      let header: [UInt8] = [flags, 20]
      seeds.append(header + open + send + finish)
      seeds.append(header + datagrams + echoes)
      seeds.append(header + open + pieces + listen + refused + odd)
    }
    seeds.append([0, 0] + open + windows + finish)
    seeds.append([0, 20] + open + ends)
    seeds.append([4, 0] + open + open + open + refused + open + odd + [0x88, 0, 8, 1, 0x1F])
    return seeds
  }
}
