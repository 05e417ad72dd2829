import Framing
import Primitives

/// One end of an end-to-end session: streams, flows and their credit inside sealed records.
///
/// A core without I/O: the owner reads into `readTarget`, hands the count to `received`, takes events, and
/// writes what `fill` produces. Belongs to one thread. The LinkManager's end opens streams; the
/// SiteManager's end accepts or refuses them, and can never open one itself.
public struct Session: ~Copyable {
  public enum Role: Sendable { case link, site }

  let role: Role
  let limits: SessionLimits
  var reader: RecordReader
  var writer: RecordWriter
  var streams: [StreamState] = [StreamState()]
  var freeSlots: [UInt16] = []
  /// The last tenants of slots that were given back, by slot: the next ones count on from them.
  var pastTenants: [UInt16] = []
  var events = RingQueue<SessionEvent>(minimumCapacity: 256)
  var controls = RingQueue<ControlFrame>(minimumCapacity: 64)
  var turns = SendTurns()
  var liveness: Liveness
  var windowTotal = 0
  var openCount = 0
  /// Datagrams that have come in part, and where they are put together.
  var partialDatagrams = 0
  var partLane = SlabLane()
  var isEnding = false
  var endQueued = false
  var endSent = false
  var peerEnded = false
  public internal(set) var counters = SessionCounters()
  var rateIn = Throughput()
  var rateOut = Throughput()
  /// Payload as of the last `sampleRates`.
  var sampledBytes: UInt64 = 0

  /// - Parameter secrets: from the end-to-end handshake; each secret may be used for one session only.
  public init(
    role: Role, secrets: RecordSecrets, limits: SessionLimits = SessionLimits(), now: Instant
  ) throws(SessionError) {
    let reader = try Self.makeReader(secrets, limits)
    let writer = try Self.makeWriter(secrets, limits, now)
    self.role = role
    self.limits = limits
    self.reader = reader
    self.writer = writer
    liveness = Liveness(pingInterval: limits.pingInterval, deadInterval: limits.deadInterval, now: now)
    controls.append(.ping(liveness.ping(now: now)))
  }

  private static func makeReader(_ secrets: RecordSecrets, _ limits: SessionLimits) throws(SessionError) -> RecordReader
  {
    do throws(RecordError) {
      return try RecordReader(secret: secrets.receive, policy: limits.rekey)
    } catch {
      throw .record(error)
    }
  }

  private static func makeWriter(
    _ secrets: RecordSecrets, _ limits: SessionLimits, _ now: Instant
  ) throws(SessionError) -> RecordWriter {
    do throws(RecordError) {
      return try RecordWriter(secret: secrets.send, policy: limits.rekey, now: now)
    } catch {
      throw .record(error)
    }
  }

  /// Gives back everything that the session holds of the pool. To be called before it is dropped.
  public mutating func close(pool: inout SlabPool) {
    while let event = events.popFirst() {
      switch event {
      case .data(_, let slice), .datagram(_, let slice), .echo(_, let slice): pool.release(slice)
      default: break
      }
    }
    for index in streams.indices { dropQueue(index, pool: &pool) }
    reader.close(pool: &pool)
    writer.close(pool: &pool)
    pool.close(&partLane)
  }

  // MARK: What the owner asks

  public mutating func nextEvent() -> SessionEvent? {
    events.popFirst()
  }

  public var nextDeadline: Instant? { liveness.nextDeadline }

  /// - Throws: `SessionError.peerSilent` when the peer is taken for dead.
  public mutating func handleTimeout(now: Instant) throws(SessionError) {
    switch liveness.check(now: now) {
    case .wait: break
    case .ping: controls.append(.ping(liveness.ping(now: now)))
    case .dead(let silence): throw .peerSilent(silence)
    }
  }

  /// Asks the peer at once whether it is still there: for when the host's network has changed.
  public mutating func probe(now: Instant) {
    liveness.probe(now: now)
    controls.append(.ping(liveness.ping(now: now)))
  }

  /// Streams and flows that are open or asked for.
  public var streamCount: Int { openCount }

  /// The latest measured round trip, queues included.
  public var roundTrip: Interval? { liveness.lastRoundTrip }

  public var recordsSealed: UInt64 { writer.recordsSealed }
  public var recordsOpened: UInt64 { reader.recordsOpened }
  public var bytesSealed: UInt64 { writer.bytesSealed }
  public var bytesOpened: UInt64 { reader.bytesOpened }

  /// Both directions have ended, authenticated, and our end is out.
  public var isFinished: Bool { endSent && peerEnded }

  /// Whether the peer opens or may open streams still.
  public var acceptsStreams: Bool { !isEnding && !peerEnded }

  public func contains(_ id: StreamID) -> Bool {
    id.slot > 0 && id.slot < streams.count && streams[id.slot].phase != .free
      && streams[id.slot].tenant == id.tenant
  }

  /// The owner's own name for a stream, e.g. a flow's identifier; comes back with no search.
  public mutating func setTag(_ tag: UInt64, of id: StreamID) {
    if contains(id) { streams[id.slot].tag = tag }
  }

  public func tag(of id: StreamID) -> UInt64? {
    // A stream that was closed by the event being handled still answers, until the slot has a new tenant.
    id.slot > 0 && id.slot < streams.count && streams[id.slot].tenant == id.tenant ? streams[id.slot].tag : nil
  }

  public func request(of id: StreamID) -> OpenRequest? {
    contains(id) ? streams[id.slot].request : nil
  }

  public func listenRequest(of id: StreamID) -> ListenRequest? {
    contains(id) ? streams[id.slot].listenRequest : nil
  }

  public func listenAnswer(of id: StreamID) -> ListenAnswer? {
    contains(id) ? streams[id.slot].listenAnswer : nil
  }

  public func refusal(of id: StreamID) -> Refusal? {
    id.slot > 0 && id.slot < streams.count && streams[id.slot].tenant == id.tenant ? streams[id.slot].refusal : nil
  }

  /// Bytes that `send` takes now.
  public func sendCredit(_ id: StreamID) -> Int {
    contains(id) ? streams[id.slot].send.available : 0
  }

  /// Bytes of the stream that wait to be sealed.
  public func queuedBytes(_ id: StreamID) -> Int {
    contains(id) ? streams[id.slot].queuedBytes : 0
  }

  // MARK: Opening

  /// Asks the site for a stream. Data may only follow `opened`; datagrams and echo messages may follow at once.
  ///
  /// - Throws: a `Refusal` with `.tooMany` or `.sessionEnded`, without asking the site.
  public mutating func open(_ request: OpenRequest, tag: UInt64) throws(Refusal) -> StreamID {
    let id = try takeSlot(request.protocol, tag: tag)
    streams[id.slot].request = request
    controls.append(.open(id))
    return id
  }

  /// Asks the site for a stream that begins with a connection from the device to the site. For sites that announced an
  /// agent for FTP only: others don't know the frame.
  ///
  /// - Throws: a `Refusal` with `.tooMany` or `.sessionEnded`, without asking the site.
  public mutating func listen(_ request: ListenRequest, tag: UInt64) throws(Refusal) -> StreamID {
    let id = try takeSlot(.tcp, tag: tag)
    streams[id.slot].listenRequest = request
    controls.append(.listen(id))
    return id
  }

  private mutating func takeSlot(_ kind: StreamProtocol, tag: UInt64) throws(Refusal) -> StreamID {
    guard role == .link, acceptsStreams else { throw Refusal(.sessionEnded) }
    guard openCount < min(limits.streams, SessionLimits.slots - 1) else {
      counters.streamsRefused += 1
      throw Refusal(.tooMany, "\(limits.streams) streams are open in this session")
    }
    // Of streams that were opened and reset while the line stood still, both frames wait.
    guard controls.count - openCount < limits.controlFrames else {
      counters.streamsRefused += 1
      throw Refusal(.tooMany, "\(controls.count) frames wait in this session")
    }
    let slot: Int
    if let free = freeSlots.popLast() {
      slot = Int(free)
    } else {
      slot = streams.count
      streams.append(StreamState())
      if slot < pastTenants.count { streams[slot].tenant = pastTenants[slot] }
    }
    let tenant = streams[slot].tenant &+ 1
    start(slot, tenant: tenant, kind)
    streams[slot].tag = tag
    return StreamID(slot: slot, tenant: tenant)
  }

  /// Where the site waits for the device's connection; `accept` follows once it is there.
  public mutating func announce(_ answer: ListenAnswer, for id: StreamID) {
    guard contains(id), streams[id.slot].phase == .requested, role == .site, streams[id.slot].listenRequest != nil
    else { return }
    streams[id.slot].listenAnswer = answer
    controls.append(.listening(id))
  }

  /// The stream's far end is reached.
  public mutating func accept(_ id: StreamID) {
    guard contains(id), streams[id.slot].phase == .requested, role == .site else { return }
    streams[id.slot].phase = .open
    streams[id.slot].request = nil
    streams[id.slot].listenRequest = nil
    controls.append(.opened(id))
  }

  public mutating func refuse(_ id: StreamID, _ refusal: Refusal, pool: inout SlabPool) {
    guard contains(id), streams[id.slot].phase == .requested, role == .site else { return }
    streams[id.slot].refusal = refusal
    counters.streamsRefused += 1
    controls.append(.refused(id))
    // The slot stays taken until the frame is out: it carries the text.
  }

  // MARK: Sending

  /// Queues payload of a stream; takes over the slice's reference.
  ///
  /// - Throws: `SessionError.misuse` beyond the stream's credit; the reference is released.
  public mutating func send(_ id: StreamID, _ slice: Slice, pool: inout SlabPool) throws(SessionError) {
    guard contains(id), streams[id.slot].isOpen, !streams[id.slot].finishQueued else {
      pool.release(slice)
      return
    }
    guard streams[id.slot].send.use(slice.count) else {
      pool.release(slice)
      throw .misuse("more payload than the stream's credit")
    }
    enqueue(id.slot, slice)
  }

  /// Queues a datagram; takes over the slice's reference. Drops it when too much waits.
  public mutating func sendDatagram(_ id: StreamID, _ slice: Slice, pool: inout SlabPool) {
    guard contains(id), !streams[id.slot].kind.isByteStream else {
      pool.release(slice)
      return
    }
    guard streams[id.slot].queuedBytes + slice.count <= limits.datagramQueue else {
      counters.datagramsDropped += 1
      pool.release(slice)
      return
    }
    streams[id.slot].datagramBytesOut &+= UInt64(slice.count)
    enqueue(id.slot, slice)
  }

  /// Everything was sent: FIN follows what is queued.
  public mutating func finish(_ id: StreamID) {
    guard contains(id), streams[id.slot].phase != .free, !streams[id.slot].finishQueued else { return }
    streams[id.slot].finishQueued = true
    turns.add(id.slot, &streams)
  }

  /// Cuts the stream, or the request for it, in both directions; what is queued is dropped.
  public mutating func reset(_ id: StreamID, _ code: ResetCode, pool: inout SlabPool) {
    guard contains(id) else { return }
    controls.append(.reset(id, code))
    free(id.slot, pool: &pool)
  }

  /// What counts as the round trip where it is shorter. Towards a neighbour a window must last for as long as busy hosts
  /// take to answer, or all go to sleep between its halves. ARCHITECTURE has the figures of shorter and longer ones.
  private static let shortestRoundTrip = Interval.microseconds(300)

  /// The reader of a stream is through with this many bytes: credit for the peer.
  public mutating func consumed(_ id: StreamID, _ count: Int, now: Instant) {
    guard contains(id) else { return }
    // The shortest round trip, without queues: a window that grew by the time in its own queue would grow for ever.
    let roundTrip = max(liveness.roundTrip ?? .milliseconds(1), Self.shortestRoundTrip)
    let (grown, announce) = streams[id.slot].receive.consume(
      count, roundTrip: roundTrip, maximum: limits.maximumWindow, growth: limits.memoryBudget - windowTotal, now: now)
    windowTotal += grown
    if announce, !streams[id.slot].windowQueued, !streams[id.slot].finishReceived {
      streams[id.slot].windowQueued = true
      controls.append(.window(id))
    }
  }

  /// Ends the session in order: no new streams, then the authenticated end of this direction.
  public mutating func end(_ reason: String) {
    guard !isEnding else { return }
    isEnding = true
    goAwayText = reason
    controls.append(.goAway)
    endQueued = true
  }

  var goAwayText = ""
  /// What the peer said when it went away.
  public internal(set) var peerGoodbye = ""

  // MARK: Slots

  mutating func start(_ slot: Int, tenant: UInt16, _ kind: StreamProtocol) {
    var queue = streams[slot].queue
    queue.removeAll()
    streams[slot] = StreamState()
    streams[slot].queue = queue
    streams[slot].tenant = tenant
    streams[slot].phase = .requested
    streams[slot].kind = kind
    openCount += 1
    windowTotal += SessionLimits.initialWindow
    counters.streamsOpened += 1
  }

  mutating func free(_ slot: Int, pool: inout SlabPool) {
    guard streams[slot].phase != .free else { return }
    dropQueue(slot, pool: &pool)
    turns.remove(slot, &streams)
    streams[slot].phase = .free
    openCount -= 1
    windowTotal -= streams[slot].receive.size
    if role == .link { freeSlots.append(UInt16(slot)) }
  }

  mutating func closeIfFinished(_ id: StreamID, pool: inout SlabPool) {
    guard contains(id), streams[id.slot].isFinished else { return }
    free(id.slot, pool: &pool)
    events.append(.closed(id))
  }

  private mutating func enqueue(_ slot: Int, _ slice: Slice) {
    streams[slot].queue.append(slice)
    streams[slot].queuedBytes += slice.count
    turns.add(slot, &streams)
  }

  private mutating func dropQueue(_ slot: Int, pool: inout SlabPool) {
    while let slice = streams[slot].queue.popFirst() { pool.release(slice) }
    streams[slot].queuedBytes = 0
    dropPartial(slot, pool: &pool)
  }
}

/// Frames that don't wait behind payload. Small values; what they carry is looked up when they are written.
enum ControlFrame: Equatable {
  case open(StreamID)
  case listen(StreamID)
  case listening(StreamID)
  case opened(StreamID)
  case refused(StreamID)
  case window(StreamID)
  case reset(StreamID, ResetCode)
  case ping(UInt64)
  case pong(UInt64)
  case goAway
}
