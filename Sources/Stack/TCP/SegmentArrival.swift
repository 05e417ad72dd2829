import Packet
import Primitives

/// A segment arrives: RFC 9293 section 3.10.7.
extension TCPConnection {
  /// - Parameter payload: a part of the packet; what is kept gets a reference of its own.
  mutating func receive(
    _ header: TCPHeader, payload: Slice, context: inout StackContext, pool: inout SlabPool, now: Instant
  ) -> Disposition {
    switch state {
    case .requested: return receiveRequested(header, context: &context)
    case .synSent: return receiveSynSent(header, context: &context, now: now)
    default: return receiveSynchronized(header, payload: payload, context: &context, pool: &pool, now: now)
    }
  }

  /// The SYN waits for its answer: nothing was sent yet, as in LISTEN.
  private mutating func receiveRequested(_ header: TCPHeader, context: inout StackContext) -> Disposition {
    let isRetransmission = SequenceNumber(header.sequence) + 1 == receiver.next
    if header.flags.contains(.rst) {
      guard isRetransmission || SequenceNumber(header.sequence) == receiver.next else { return .open }
      context.counters.resetsIn &+= 1
      context.events.append(.reset(id, .byApplication))
      return .gone
    }
    if header.flags.contains(.ack) {
      context.sendReset(answering: header, payloadCount: 0, tuple: tuple)
      return .open
    }
    if header.flags.contains(.syn), !isRetransmission {
      // The application gave up and tries anew from the same port: what counts is its last word.
      synchronizeReceiver(header, configuration: context.configuration)
    } else {
      context.counters.drop(.duplicate)
    }
    return .open
  }

  /// RFC 9293 section 3.10.7.3.
  private mutating func receiveSynSent(
    _ header: TCPHeader, context: inout StackContext, now: Instant
  ) -> Disposition {
    let acknowledgement = SequenceNumber(header.acknowledgement)
    let hasAcknowledgement = header.flags.contains(.ack)
    if hasAcknowledgement, acknowledgement != sender.nxt || sender.nxt == sender.initial {
      if !header.flags.contains(.rst) {
        context.sendReset(answering: header, payloadCount: 0, tuple: tuple)
      }
      return .open
    }
    if header.flags.contains(.rst) {
      guard hasAcknowledgement else { return .open }
      context.counters.resetsIn &+= 1
      context.events.append(.reset(id, .refused))
      return .gone
    }
    guard header.flags.contains(.syn) else { return .open }
    lastHeard = now
    synchronizeReceiver(header, configuration: context.configuration)
    if hasAcknowledgement {
      takeHandshakeAcknowledgement(header, window: Int(header.window), now: now)
      establish(context: &context)
      needsAcknowledgement = true
    } else {
      // Simultaneous open: both sent a SYN, both answer it (section 3.5, figure 7).
      state = .synReceived(isPassive: false)
      needsSynchronize = true
    }
    return .open
  }

  private mutating func receiveSynchronized(
    _ header: TCPHeader, payload: Slice, context: inout StackContext, pool: inout SlabPool, now: Instant
  ) -> Disposition {
    let sequence = SequenceNumber(header.sequence)
    let flags = header.flags
    if case .synReceived = state, flags.contains(.syn), !flags.contains(.ack), sequence + 1 == receiver.next {
      // Our SYN-ACK was lost.
      needsSynchronize = true
      return .open
    }
    // Protection against wrapped sequence numbers (RFC 7323 section 5.3, R1).
    if hasTimestamps, !flags.contains(.rst) {
      guard let timestamps = header.options.timestamps else {
        context.counters.drop(.notAcceptable)
        return .open
      }
      let isOld = Int32(bitPattern: timestamps.value &- recentTimestamp) < 0
      if isOld, now - lastHeard < .seconds(24 * 86_400) {
        needsAcknowledgement = true
        context.counters.drop(.notAcceptable)
        return .open
      }
    }
    let count = payload.count + (flags.contains(.syn) ? 1 : 0)
    if flags.contains(.rst) { return receiveReset(sequence, context: &context, now: now) }
    guard
      SegmentAcceptance.sequence(sequence, count: count, next: receiver.next, window: receiver.acceptableWindow)
        == .acceptable
    else {
      // Old segments, keepalive and window probes: the answer says where we are. A segment behind the window shows
      // that the peer lives, so that a probe of a closed window doesn't count as silence.
      noteHeard(now)
      needsAcknowledgement = true
      if sequence < receiver.next { receiver.noteDuplicate(sequence, sequence + payload.count) }
      context.counters.drop(.notAcceptable)
      return .open
    }
    if flags.contains(.syn) {
      // RFC 5961 section 4.2.
      challenge(context: &context, now: now)
      return .open
    }
    guard flags.contains(.ack) else {
      context.counters.drop(.notAcceptable)
      return .open
    }
    noteHeard(now)
    if let timestamps = header.options.timestamps, hasTimestamps, sequence <= lastAcknowledged {
      // RFC 7323 section 4.3.
      recentTimestamp = timestamps.value
    }
    switch receiveAcknowledgement(header, payloadCount: payload.count, context: &context, pool: &pool, now: now) {
    case .proceed: break
    case .stop(let disposition): return disposition
    }
    return receiveText(
      sequence, payload: payload, hasFinish: flags.contains(.fin), context: &context, pool: &pool)
  }

  private mutating func noteHeard(_ now: Instant) {
    lastHeard = now
    unansweredProbes = 0
  }

  // MARK: Reset

  private mutating func receiveReset(
    _ sequence: SequenceNumber, context: inout StackContext, now: Instant
  ) -> Disposition {
    switch SegmentAcceptance.reset(sequence, next: receiver.next, window: receiver.acceptableWindow) {
    case .reset:
      context.counters.resetsIn &+= 1
      context.events.append(.reset(id, state == .synReceived(isPassive: false) ? .refused : .byApplication))
      return .gone
    case .challenge:
      challenge(context: &context, now: now)
    case .ignore:
      context.counters.drop(.notAcceptable)
    }
    return .open
  }

  private mutating func challenge(context: inout StackContext, now: Instant) {
    guard context.challengeLimiter.allow(now: now) else {
      context.counters.drop(.rateLimit)
      return
    }
    context.counters.challenges &+= 1
    needsAcknowledgement = true
  }

  // MARK: Acknowledgement

  private enum Continuation {
    case proceed
    case stop(Disposition)
  }

  private mutating func receiveAcknowledgement(
    _ header: TCPHeader, payloadCount: Int, context: inout StackContext, pool: inout SlabPool, now: Instant
  ) -> Continuation {
    let number = SequenceNumber(header.acknowledgement)
    let window = Int(header.window) << sender.windowShift
    if case .synReceived = state {
      guard number == sender.nxt, sender.nxt != sender.initial else {
        context.sendReset(answering: header, payloadCount: payloadCount, tuple: tuple)
        return .stop(.open)
      }
      takeHandshakeAcknowledgement(header, window: window, now: now)
      establish(context: &context)
    }
    switch SegmentAcceptance.acknowledgement(
      number, una: sender.una, nxt: sender.nxt, maximumWindow: max(sender.maximumWindow, 65_535))
    {
    case .acceptable: break
    case .old: return .proceed
    case .challenge:
      challenge(context: &context, now: now)
      return .stop(.open)
    }
    let acknowledgement = TCPSender.Acknowledgement(
      number: number, window: window, sequence: SequenceNumber(header.sequence),
      isBare: payloadCount == 0 && !header.flags.contains(.fin), echoed: roundTrip(header, now: now),
      blocks: header.options.sackBlocks)
    let progress = sender.acknowledge(acknowledgement, pool: &pool, now: now)
    if progress.isSpurious { context.counters.spuriousRetransmissions &+= 1 }
    if progress.bytes > 0 { context.events.append(.acknowledged(id, bytes: progress.bytes)) }
    guard sender.isFinishAcknowledged else { return .proceed }
    switch state {
    case .finWait1:
      state = .finWait2
    case .closing:
      context.events.append(.closed(id))
      return .stop(.timeWait)
    case .lastAck:
      context.events.append(.closed(id))
      return .stop(.gone)
    default: break
    }
    return .proceed
  }

  /// The ACK of our SYN.
  private mutating func takeHandshakeAcknowledgement(_ header: TCPHeader, window: Int, now: Instant) {
    // Nothing was queued in front of the SYN, so there is nothing to release.
    sender.acknowledgeSynchronize(
      window: window, sequence: SequenceNumber(header.sequence), echoed: roundTrip(header, now: now), now: now)
  }

  private mutating func establish(context: inout StackContext) {
    state = .established
    openDeadline = nil
    needsSynchronize = false
    context.counters.connectionsOpened &+= 1
    context.events.append(.established(id))
  }

  /// What the echoed timestamp says about the round trip (RFC 7323 section 4.1).
  private func roundTrip(_ header: TCPHeader, now: Instant) -> Interval? {
    guard hasTimestamps, let echo = header.options.timestamps?.echo, echo != 0 else { return nil }
    let elapsed = Int32(bitPattern: timestamp(now) &- echo)
    guard elapsed >= 0, elapsed < 60_000 else { return nil }
    return .milliseconds(Int64(elapsed))
  }

  /// The timestamp clock.
  func timestamp(_ now: Instant) -> UInt32 {
    UInt32(truncatingIfNeeded: now.milliseconds) &+ timestampOffset
  }

  // MARK: Text

  private mutating func receiveText(
    _ sequence: SequenceNumber, payload: Slice, hasFinish: Bool, context: inout StackContext, pool: inout SlabPool
  ) -> Disposition {
    guard !payload.isEmpty || hasFinish else { return .open }
    needsAcknowledgement = true
    switch receiver.judge(sequence, count: payload.count, hasFinish: hasFinish) {
    case .nothing:
      if !payload.isEmpty { context.counters.drop(.duplicate) }
    case .deliver(let offset, let count):
      let part = payload.range(from: offset, count: count)
      pool.retain(part)
      deliver(part, context: &context)
      while let slice = receiver.queue.popFirst(at: receiver.next, pool: &pool) {
        deliver(slice, context: &context)
      }
    case .keep(let offset, let count, let start):
      context.counters.outOfOrderSegments &+= 1
      if !sender.hasSack { owedDuplicates = min(owedDuplicates + 1, LossDetection.duplicateThreshold) }
      if receiver.queue.holds(start, start + count) {
        receiver.noteDuplicate(start, start + count)
        context.counters.drop(.duplicate)
        break
      }
      let isKept = receiver.queue.insert(
        payload.range(from: offset, count: count), at: start,
        limit: context.configuration.limits.outOfOrderSegments, pool: &pool)
      if !isKept { context.counters.drop(.outOfOrderLimit) }
    }
    guard receiver.takeFinish() else { return .open }
    context.events.append(.finished(id))
    switch state {
    case .established:
      state = .closeWait
    case .finWait1:
      // Our FIN isn't acknowledged yet, or the state would be finWait2: simultaneous close.
      state = .closing
    case .finWait2:
      context.events.append(.closed(id))
      return .timeWait
    default: break
    }
    return .open
  }

  private mutating func deliver(_ slice: Slice, context: inout StackContext) {
    receiver.advance(slice.count)
    context.events.append(.received(id, slice))
  }
}

extension Instant {
  /// Whole milliseconds since the origin.
  var milliseconds: Int64 { nanoseconds / 1_000_000 }
}
