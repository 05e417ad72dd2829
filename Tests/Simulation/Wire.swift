import Primitives

/// Something that reaches an end of a wire: 0 or 1.
enum WireEvent: BitwiseCopyable {
  /// Bytes from the other end.
  case bytes(to: Int, Int)
  case finish(to: Int)
  case failure(to: Int, WireError)
  /// The other end has read: there is room again.
  case room(at: Int)
}

enum WireError: BitwiseCopyable { case reset, timedOut }

/// A TCP connection between two kernels, as programs see it: bytes arrive in order and late, buffers are full or empty,
/// and an end is a FIN or a reset.
struct Wire {
  /// From one end to the other.
  private struct Direction {
    /// Accepted from the writer, and not read.
    var queue = ByteQueue()
    /// How many of these have arrived.
    var arrived = 0
    var hasFinished = false
    var finishArrived = false
    /// A reset has kept bytes from leaving, and the FIN behind them.
    var isTruncated = false
    /// The writer found no room.
    var isBlocked = false
    /// When the last of it arrives, so that nothing overtakes.
    var lastDue = Instant.zero
  }

  enum Read: Equatable { case moved(Int), wouldBlock, ended, failed(WireError) }

  let capacity: Int
  let latency: Interval
  let jitter: Interval
  private var directions = (Direction(), Direction())
  private var errors: (WireError?, WireError?) = (nil, nil)
  private var closed = (false, false)
  /// Nothing arrives any more, and nobody is told.
  private(set) var isDead = false
  /// Set to change one byte on its way: the direction, the position in it, and how.
  var corruption: (from: Int, position: Int, mask: UInt8)?
  private var accepted = (0, 0)

  init(capacity: Int, latency: Interval, jitter: Interval) {
    self.capacity = capacity
    self.latency = latency
    self.jitter = jitter
  }

  private subscript(from end: Int) -> Direction {
    get { end == 0 ? directions.0 : directions.1 }
    _modify { if end == 0 { yield &directions.0 } else { yield &directions.1 } }
  }

  func isClosed(_ end: Int) -> Bool { end == 0 ? closed.0 : closed.1 }
  func error(_ end: Int) -> WireError? { end == 0 ? errors.0 : errors.1 }

  private mutating func setError(_ end: Int, _ error: WireError?) {
    if end == 0 { errors.0 = error } else { errors.1 = error }
  }

  /// Bytes that a write takes now.
  func room(_ end: Int) -> Int { max(0, capacity - self[from: end].queue.count) }

  /// Bytes that a read gives now.
  func readable(_ end: Int) -> Int { self[from: 1 - end].arrived }
  var bytesUnderWay: Int { directions.0.queue.count + directions.1.queue.count }

  // MARK: What programs do

  /// Takes as many of the bytes as there is room for; `nil` for an error.
  mutating func write(
    _ end: Int, _ bytes: Span<UInt8>, _ agenda: inout Agenda, _ random: inout SeededRandom, index: Int, now: Instant
  ) -> Int? {
    guard error(end) == nil, !isClosed(end) else { return nil }
    let count = min(bytes.count, room(end))
    if count < bytes.count { self[from: end].isBlocked = true }
    guard count > 0 else { return 0 }
    self[from: end].queue.append(bytes.extracting(0..<count))
    corrupt(end, count)
    arrive(end, count, &agenda, &random, index, now)
    return count
  }

  /// The same from a pipe: splice(2).
  mutating func splice(
    _ end: Int, from pipe: inout ByteQueue, _ count: Int, _ agenda: inout Agenda, _ random: inout SeededRandom,
    index: Int, now: Instant
  ) -> Int? {
    guard error(end) == nil, !isClosed(end) else { return nil }
    let moved = min(count, room(end))
    if moved < count { self[from: end].isBlocked = true }
    guard moved > 0 else { return 0 }
    pipe.move(moved, to: &self[from: end].queue)
    corrupt(end, moved)
    arrive(end, moved, &agenda, &random, index, now)
    return moved
  }

  private mutating func corrupt(_ end: Int, _ count: Int) {
    let before = end == 0 ? accepted.0 : accepted.1
    if end == 0 { accepted.0 += count } else { accepted.1 += count }
    guard let corruption, corruption.from == end, (before..<before + count).contains(corruption.position) else {
      return
    }
    let place = self[from: end].queue.count - (before + count - corruption.position)
    self[from: end].queue.corrupt(at: place, with: corruption.mask)
  }

  private mutating func arrive(
    _ end: Int, _ count: Int, _ agenda: inout Agenda, _ random: inout SeededRandom, _ index: Int, _ now: Instant
  ) {
    guard !isDead else { return }
    let due = due(end, &random, now)
    // The network cuts where it likes.
    let first = count > 1 && random.chance(0.3) ? Int.random(in: 1..<count, using: &random) : count
    agenda.book(.wire(index, .bytes(to: 1 - end, first)), at: due)
    guard first < count else { return }
    agenda.book(.wire(index, .bytes(to: 1 - end, count - first)), at: self.due(end, &random, now))
  }

  private mutating func due(_ end: Int, _ random: inout SeededRandom, _ now: Instant) -> Instant {
    let delay = latency + Interval(nanoseconds: Int64(random.next() % UInt64(max(1, jitter.nanoseconds))))
    let due = max(now + delay, self[from: end].lastDue)
    self[from: end].lastDue = due
    return due
  }

  /// What a read would do now; then `read` or `move` those bytes.
  func look(_ end: Int) -> Read {
    let direction = self[from: 1 - end]
    if direction.arrived > 0 { return .moved(direction.arrived) }
    if let error = error(end) { return .failed(error) }
    if isClosed(end) { return .failed(.reset) }
    return direction.finishArrived ? .ended : .wouldBlock
  }

  /// Takes bytes that have arrived: into memory, into a pipe, or just to be looked at.
  mutating func read(
    _ end: Int, into bytes: inout MutableSpan<UInt8>, _ agenda: inout Agenda, index: Int, now: Instant
  ) {
    let count = bytes.count
    self[from: 1 - end].queue.read(into: &bytes)
    took(end, count, &agenda, index, now)
  }

  mutating func move(
    _ end: Int, _ count: Int, to pipe: inout ByteQueue, _ agenda: inout Agenda, index: Int, now: Instant
  ) {
    self[from: 1 - end].queue.move(count, to: &pipe)
    took(end, count, &agenda, index, now)
  }

  mutating func take<Result>(
    _ end: Int, _ count: Int, _ agenda: inout Agenda, index: Int, now: Instant, _ body: (Span<UInt8>) -> Result
  ) -> Result {
    let result = self[from: 1 - end].queue.withFirst(count, body)
    self[from: 1 - end].queue.drop(count)
    took(end, count, &agenda, index, now)
    return result
  }

  private mutating func took(_ end: Int, _ count: Int, _ agenda: inout Agenda, _ index: Int, _ now: Instant) {
    self[from: 1 - end].arrived -= count
    // A kernel tells of room once a third of the buffer is free.
    if self[from: 1 - end].isBlocked, room(1 - end) * 3 >= capacity {
      self[from: 1 - end].isBlocked = false
      if !isDead { agenda.book(.wire(index, .room(at: 1 - end)), at: now + latency) }
    }
  }

  /// shutdown(SHUT_WR)
  mutating func finish(
    _ end: Int, _ agenda: inout Agenda, _ random: inout SeededRandom, index: Int, now: Instant
  ) {
    guard error(end) == nil, !isClosed(end), !self[from: end].hasFinished else { return }
    self[from: end].hasFinished = true
    if !isDead { agenda.book(.wire(index, .finish(to: 1 - end)), at: due(end, &random, now)) }
  }

  /// close(2): in order, or with a reset if that is asked for or bytes are unread (RFC 2525 section 2.17).
  mutating func close(
    _ end: Int, reset: Bool, _ agenda: inout Agenda, _ random: inout SeededRandom, index: Int, now: Instant
  ) {
    guard !isClosed(end) else { return }
    if !reset, self[from: 1 - end].arrived == 0 {
      finish(end, &agenda, &random, index: index, now: now)
      if end == 0 { closed.0 = true } else { closed.1 = true }
      return
    }
    if end == 0 { closed.0 = true } else { closed.1 = true }
    sendReset(from: end, &agenda, &random, index, now)
  }

  private mutating func sendReset(
    from end: Int, _ agenda: inout Agenda, _ random: inout SeededRandom, _ index: Int, _ now: Instant
  ) {
    guard error(end) == nil else { return }
    setError(end, .reset)
    // What hasn't left yet never will.
    let (arrived, all) = (self[from: end].arrived, self[from: end].queue.count)
    if random.chance(0.5) {
      let left = Int.random(in: arrived...all, using: &random)
      self[from: end].queue.truncate(to: left)
      self[from: end].isTruncated = left < all
    }
    if !isDead { agenda.book(.wire(index, .failure(to: 1 - end, .reset)), at: due(end, &random, now)) }
  }

  /// One end is gone without a word; the other notices by itself after a time.
  mutating func die(_ end: Int, after time: Interval, _ agenda: inout Agenda, index: Int, now: Instant) {
    isDead = true
    if end == 0 { closed.0 = true } else { closed.1 = true }
    agenda.book(.wire(index, .failure(to: 1 - end, .timedOut)), at: now + time)
  }

  /// Nothing passes any more.
  mutating func block() { isDead = true }

  // MARK: What arrives

  /// Books what has reached an end.
  ///
  /// - Returns: whether that end's program has something to look at.
  mutating func arrived(
    _ event: WireEvent, _ agenda: inout Agenda, _ random: inout SeededRandom, index: Int, now: Instant
  ) -> Bool {
    switch event {
    case .bytes(let end, let count):
      guard !isDead else { return false }
      // What a reset has taken along is not there any more.
      let left = self[from: 1 - end].queue.count - self[from: 1 - end].arrived
      guard error(end) == nil, left > 0 else { return false }
      if isClosed(end) {
        sendReset(from: end, &agenda, &random, index, now)
        return false
      }
      self[from: 1 - end].arrived += min(left, count)
      return true
    case .finish(let end):
      guard !isDead, !self[from: 1 - end].isTruncated else { return false }
      self[from: 1 - end].finishArrived = true
      return !isClosed(end)
    case .failure(let end, let error):
      guard !isDead || error == .timedOut, self.error(end) == nil else { return false }
      setError(end, error)
      // What was on its way from here goes nowhere.
      self[from: end].queue.truncate(to: self[from: end].arrived)
      return !isClosed(end)
    case .room(let end): return !isDead && !isClosed(end)
    }
  }
}
