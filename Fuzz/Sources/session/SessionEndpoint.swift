import Framing
import FuzzDriver
import Primitives

@testable import Proxy

/// A stream as the owner of one end knows it.
struct StreamModel {
  let kind: StreamProtocol
  var isOpen = false
  var sent = 0
  var received = 0
  /// Received, and not reported as consumed.
  var held = 0
  var hasFinished = false
  var peerFinished = false
  /// Closed in order, both ways.
  var isClosed = false
  /// Refused, reset, or gone with its session.
  var isCut = false

  var isOver: Bool { isClosed || isCut }
}

/// One end of a session with its memory and its owner, who checks all that is said.
struct SessionEndpoint: ~Copyable {
  var session: Session
  var pool: SlabPool
  var output = SliceQueue()
  var lane = SlabLane()
  let isLink: Bool
  /// In the order of their beginning.
  var ids: [StreamID] = []
  var models: [StreamID: StreamModel] = [:]
  var requests: [StreamID] = []
  /// Payload that the owner hasn't done with.
  var inbox: [(id: StreamID, slice: Slice)] = []
  var datagramsSent: [StreamID: [Int]] = [:]
  var hasEnded = false
  var peerHasEnded = false

  init(_ session: consuming Session, isLink: Bool, pool: consuming SlabPool) {
    self.session = session
    self.isLink = isLink
    self.pool = pool
  }

  static func salt(_ id: StreamID, fromLink: Bool) -> Int {
    Int(truncatingIfNeeded: id.rawValue &* 2) &+ Int(id.tenant) + (fromLink ? 1 : 0)
  }

  mutating func begin(_ id: StreamID, _ kind: StreamProtocol) {
    check(models[id].map(\.isOver) ?? true, "a stream that isn't over begins anew")
    if models[id] == nil { ids.append(id) }
    models[id] = StreamModel(kind: kind)
  }

  /// A stream by a byte of the input; the latest ones are the likeliest to live.
  func stream(_ choice: UInt8) -> StreamID? {
    ids.isEmpty ? nil : ids[ids.count - 1 - Int(choice) % min(ids.count, 12)]
  }

  // MARK: Events

  /// - Parameter peerSent: bytes that the other end has handed to its session, by stream.
  mutating func takeEvents() {
    while let event = session.nextEvent() {
      switch event {
      case .openRequested(let id):
        check(!isLink, "only a site is asked")
        // `nil` if it was reset before this end has looked.
        begin(id, session.request(of: id)?.protocol ?? .tcp)
        check(session.request(of: id) != nil || !session.contains(id), "a request that stands has one")
        requests.append(id)
      case .listenRequested(let id):
        check(!isLink, "only a site is asked")
        check(session.listenRequest(of: id) != nil || !session.contains(id), "a request that stands has one")
        begin(id, .tcp)
        requests.append(id)
      case .listening:
        check(isLink, "only a link is told")
      case .opened(let id): change(id) { $0.isOpen = true }
      case .refused(let id):
        check(isLink && session.refusal(of: id) != nil, "a refusal says why")
        change(id) { $0.isCut = true }
      case .data(let id, let slice): takeData(id, slice)
      case .writable(let id): check(models[id] != nil, "a stream that is known")
      case .finished(let id):
        change(id) { model in
          check(!model.peerFinished, "ends once")
          model.peerFinished = true
        }
      case .reset(let id, _): change(id) { $0.isCut = true }
      case .closed(let id):
        change(id) { model in
          check(model.hasFinished && model.peerFinished, "closed when both have finished")
          model.isClosed = true
        }
      case .datagram(let id, let slice), .echo(let id, let slice): takeDatagram(id, slice)
      case .ethernet(_, let slice, isContinued: _):
        check(false, "nobody has asked for frames")
        pool.release(slice)
      case .goingAway: check(!peerHasEnded, "goes before it has gone")
      case .ended:
        check(!peerHasEnded, "ends once")
        peerHasEnded = true
      }
    }
  }

  private mutating func change(_ id: StreamID, _ body: (inout StreamModel) -> Void) {
    guard var model = models[id] else { return check(false, "an event of a stream that isn't known") }
    check(!model.isOver, "an event of stream \(id), which is over")
    body(&model)
    models[id] = model
  }

  private mutating func takeData(_ id: StreamID, _ slice: Slice) {
    guard var model = models[id] else { return check(false, "data of a stream that isn't known") }
    check(model.kind.isByteStream && !model.peerFinished && !model.isClosed, "data in its time")
    check(!slice.isEmpty, "data has bytes")
    check(
      Pattern.matches(pool, slice, from: model.received, salt: Self.salt(id, fromLink: !isLink)),
      "the bytes that were sent, in order")
    model.received += slice.count
    model.held += slice.count
    models[id] = model
    inbox.append((id, slice))
  }

  private mutating func takeDatagram(_ id: StreamID, _ slice: Slice) {
    guard let model = models[id] else { return check(false, "a datagram of a flow that isn't known") }
    check(!model.kind.isByteStream, "datagrams are of flows")
    check(slice.count <= 65_535, "a datagram's size")
    if slice.count >= 4 {
      // Each begins with its size, so that halves and joints are found.
      let size = pool.withSpan(slice) { Int($0[0]) << 24 | Int($0[1]) << 16 | Int($0[2]) << 8 | Int($0[3]) }
      check(size == slice.count, "a datagram of \(size) bytes came as \(slice.count)")
      check(Pattern.matches(pool, slice.dropping(4), from: size, salt: 3), "the datagram's bytes")
    }
    pool.release(slice)
  }

  // MARK: The owner

  mutating func send(_ id: StreamID, _ wanted: Int) {
    guard let model = models[id], model.kind.isByteStream, !model.isOver, model.isOpen, !model.hasFinished else {
      return
    }
    let count = min(wanted, session.sendCredit(id))
    guard count > 0, let region = pool.reserve(count, in: &lane) else { return }
    let slice = pool.commit(region, count: count, in: &lane)
    Pattern.fill(&pool, slice, from: model.sent, salt: Self.salt(id, fromLink: isLink))
    let credit = session.sendCredit(id)
    do throws(SessionError) {
      try session.send(id, slice, pool: &pool)
    } catch {
      check(false, "within its credit: \(error)")
    }
    check(session.sendCredit(id) == credit - count, "credit is used")
    models[id]?.sent += count
  }

  /// One byte more than the credit is refused, and nothing of it is sent.
  mutating func overdraw(_ id: StreamID) {
    guard let model = models[id], model.isOpen, !model.isOver, !model.hasFinished, model.kind.isByteStream else {
      return
    }
    let credit = session.sendCredit(id)
    guard credit < pool.slabSize, let region = pool.reserve(credit + 1, in: &lane) else { return }
    let slice = pool.commit(region, count: credit + 1, in: &lane)
    do throws(SessionError) {
      try session.send(id, slice, pool: &pool)
      check(false, "more than the credit was taken")
    } catch {
      check(session.sendCredit(id) == credit, "credit is as it was")
    }
  }

  mutating func sendDatagram(_ id: StreamID, _ size: Int) {
    guard let model = models[id], !model.kind.isByteStream, !model.isOver else { return }
    let count = max(size, 4)
    guard let region = pool.reserve(count, in: &lane) else { return }
    let slice = pool.commit(region, count: count, in: &lane)
    pool.withMutableSpan(slice) { bytes in
      for index in 0..<4 { bytes[index] = UInt8(truncatingIfNeeded: count >> (24 - 8 * index)) }
    }
    Pattern.fill(&pool, slice.dropping(4), from: count, salt: 3)
    session.sendDatagram(id, slice, pool: &pool)
  }

  mutating func finish(_ id: StreamID) {
    guard let model = models[id], model.kind.isByteStream, !model.isOver else { return }
    guard model.isOpen || isLink else { return }
    models[id]?.hasFinished = true
    session.finish(id)
  }

  mutating func reset(_ id: StreamID) {
    guard let model = models[id], !model.isOver else { return }
    models[id]?.isCut = true
    requests.removeAll { $0 == id }
    session.reset(id, .reset, pool: &pool)
  }

  mutating func consume(_ limit: Int, now: Instant) {
    for _ in 0..<min(limit, inbox.count) {
      let (id, slice) = inbox.removeFirst()
      models[id]?.held -= slice.count
      session.consumed(id, slice.count, now: now)
      pool.release(slice)
    }
  }

  mutating func answer(_ choice: UInt8) {
    while let id = requests.first {
      requests.removeFirst()
      guard let model = models[id], !model.isOver else { continue }
      if choice & 7 == 7 {
        models[id]?.isCut = true
        session.refuse(id, Refusal(.deviceRefused, String(repeating: "x", count: Int(choice))), pool: &pool)
      } else {
        if session.listenRequest(of: id) != nil, choice & 8 == 0 {
          session.announce(ListenAnswer(endpoint: Endpoint(IPAddress(10, 0, 0, 1), 4000)), for: id)
        }
        models[id]?.isOpen = true
        session.accept(id)
      }
      return
    }
  }

  // MARK: What always holds

  func checkBounds(_ limits: SessionLimits) {
    var (windows, open, queued) = (0, 0, 0)
    for slot in session.streams.indices where session.streams[slot].phase != .free {
      open += 1
      windows += session.streams[slot].receive.size
      queued += session.streams[slot].queuedBytes
      check(session.streams[slot].receive.held <= session.streams[slot].receive.size, "no more held than the window")
      check(session.streams[slot].send.used <= session.streams[slot].send.limit, "no more used than the credit")
      let id = StreamID(slot: slot, tenant: session.streams[slot].tenant)
      if let model = models[id], model.kind.isByteStream, !model.isCut {
        check(session.streams[slot].receive.held == model.held, "what the owner holds is what is held")
        check(Int(session.streams[slot].send.used) == model.sent, "what was sent is what was used")
      }
    }
    check(open == session.streamCount, "open streams are counted")
    check(windows == session.windowTotal, "windows are counted")
    check(
      session.windowTotal <= limits.memoryBudget + open * SessionLimits.initialWindow, "windows within the budget")
    check(session.partialDatagrams >= 0 && session.partialDatagrams <= limits.partialDatagrams, "datagrams in part")
    check(pool.slabsInUse <= pool.limit, "slabs within the pool")
  }

  mutating func close() {
    for (_, slice) in inbox { pool.release(slice) }
    output.removeAll(pool: &pool)
    session.close(pool: &pool)
    pool.close(&lane)
    check(pool.isQuiet, "every slab is back")
  }
}
