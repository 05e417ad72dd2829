import Primitives

/// What a sender sends next.
extension TCPSender {
  /// `count` bytes of payload at `start`, then perhaps a FIN.
  struct Chunk: Equatable {
    enum Kind { case fresh, retransmission, tailProbe }

    var start: SequenceNumber
    var count: Int
    var hasFinish: Bool
    var kind: Kind
    /// Whether all that is queued is sent with it: PSH.
    var isLast: Bool

    var isRetransmission: Bool { kind == .retransmission }
    var end: SequenceNumber { start + count + (hasFinish ? 1 : 0) }
  }

  /// The next segment, if there is something that may be sent now.
  ///
  /// - Parameter limit: payload that fits: a segment or a super-segment.
  func nextChunk(limit: Int) -> Chunk? {
    if isTailProbeDue, let probe = tailProbe() { return probe }
    return retransmission(limit: limit) ?? fresh(limit: limit, room: congestion.window - pipe)
  }

  /// What a probe sends: new data if there is some, else the end of the flight again (RFC 8985 section 7.3).
  private func tailProbe() -> Chunk? {
    guard flightSize > 0, una >= base else { return nil }
    if var chunk = fresh(limit: maximumSegment, room: maximumSegment) {
      chunk.kind = .tailProbe
      return chunk
    }
    let end = SequenceNumber.earlier(nxt, finishSequence)
    let start = SequenceNumber.later(una, end + -maximumSegment)
    let count = max(0, end - start)
    guard count > 0 || hasSentFinish else { return nil }
    return Chunk(start: start, count: count, hasFinish: hasSentFinish, kind: .tailProbe, isLast: true)
  }

  private func retransmission(limit: Int) -> Chunk? {
    guard let lost = flight.firstLost, lost.start >= base else { return nil }
    let payloadEnd = SequenceNumber.earlier(lost.end, finishSequence)
    let wanted = min(max(0, payloadEnd - lost.start), limit)
    let count = fitting(wanted, into: congestion.window - pipe)
    guard count > 0 || wanted == 0 else { return nil }
    let hasFinish = hasSentFinish && lost.start + count == finishSequence && lost.end > finishSequence
    guard count > 0 || hasFinish else { return nil }
    return Chunk(start: lost.start, count: count, hasFinish: hasFinish, kind: .retransmission, isLast: true)
  }

  private func fresh(limit: Int, room: Int) -> Chunk? {
    guard hasUnsent, nxt >= base else { return nil }
    let available = finishSequence - nxt
    let space = max(0, una + window - nxt)
    var count = min(available, space, limit)
    if count < available {
      // Whole segments as long as more follows, and no silly ones (RFC 9293 section 3.8.6.2.1) unless the window is all
      // that the peer ever gave.
      if count > maximumSegment {
        count -= count % maximumSegment
      } else if count < maximumSegment, count < maximumWindow / 2, flightSize > 0 {
        return nil
      }
    }
    count = fitting(count, into: room)
    let isLast = count == available
    let hasFinish = isFinishing && isLast && !hasSentFinish
    guard count > 0 || hasFinish else { return nil }
    // A FIN alone needs no room: it carries nothing that the peer would have to store.
    return Chunk(start: nxt, count: count, hasFinish: hasFinish, kind: .fresh, isLast: isLast)
  }

  /// Whole segments that fit into what the congestion window leaves; all of it if that fits.
  private func fitting(_ count: Int, into room: Int) -> Int {
    if count <= room { return count }
    return room < maximumSegment ? 0 : room - room % maximumSegment
  }

  /// Books a chunk as sent.
  mutating func sent(_ chunk: Chunk, now: Instant) {
    if chunk.hasFinish { hasSentFinish = true }
    let isNew = chunk.start == nxt
    if isNew {
      if flightSize == 0, now - lastSentAt > timer.timeout { congestion.restartAfterIdle() }
      flight.append(chunk.start, chunk.end, at: now)
      nxt = chunk.end
      lastSentAt = now
    } else {
      flight.resent(chunk.start, chunk.end, at: now)
      if chunk.isRetransmission {
        resentBytes += chunk.count
        if firstResentAt == nil { firstResentAt = now }
      }
    }
    congestion.sent(chunk.count, pipe: pipe, una: una, nxt: nxt)
    if chunk.kind == .tailProbe {
      isTailProbeDue = false
      detection.probeSent(end: nxt, isRetransmission: !isNew)
      // RFC 8985 section 7.3: the retransmission timer begins anew.
      retransmitDeadline = now + timer.timeout
    } else if isNew {
      if retransmitDeadline == nil { retransmitDeadline = now + timer.timeout }
      armTailProbe(now: now)
    } else if retransmitDeadline == nil {
      retransmitDeadline = now + timer.timeout
    }
    if waitingSince == nil { waitingSince = now }
    probeDeadline = nil
  }
}
