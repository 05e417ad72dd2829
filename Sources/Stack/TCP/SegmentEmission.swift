import Packet
import Primitives

/// A segment leaves: pulled by the stack, one packet at a time.
extension TCPConnection {
  /// Writes the next packet of this connection.
  ///
  /// - Returns: false when it has nothing to send.
  mutating func emit(
    into transmit: inout Transmit, context: inout StackContext, pool: inout SlabPool, now: Instant
  ) -> Bool {
    switch state {
    case .requested: return false
    case .synSent, .synReceived:
      guard needsSynchronize else {
        return emitAcknowledgement(into: &transmit, context: &context, pool: pool, now: now)
      }
      emitSynchronize(into: &transmit, context: &context, pool: pool, now: now)
      return true
    default: break
    }
    // What is told of gaps has no room beside the payload of a full segment, and must not wait for it.
    if needsAcknowledgement, sender.hasSack, receiver.hasSelectiveReport {
      return emitAcknowledgement(into: &transmit, context: &context, pool: pool, now: now)
    }
    let limit = payloadLimit(context.configuration)
    if let chunk = sender.nextChunk(limit: limit) {
      return emitChunk(chunk, into: &transmit, context: &context, pool: &pool, now: now)
    }
    sender.armPersist(now: now)
    if needsProbe {
      needsProbe = false
      context.counters.windowProbes &+= 1
      // A segment in front of the window, which the peer must answer. RFC 9293 section 3.8.6.1 wants an octet of data in
      // it; without one nothing is in flight that a closed window would then have to be excused for.
      let header = makeHeader(sender.una + -1, flags: .ack, context: context, now: now)
      write(header, payloadCount: 0, into: &transmit, context: context, pool: pool)
      needsAcknowledgement = false
      return true
    }
    return emitAcknowledgement(into: &transmit, context: &context, pool: pool, now: now)
  }

  /// Payload of the largest packet.
  private func payloadLimit(_ configuration: StackConfiguration) -> Int {
    guard configuration.segmentationOffload else { return sender.maximumSegment }
    // 60 bytes are the largest TCP header; IPv6 counts its own header apart, but virtio bounds the whole.
    let room = 65_535 - 60 - (tuple.source.address.family == .v4 ? 20 : 40)
    return max(sender.maximumSegment, min(configuration.maximumSuperSegment, room))
  }

  private mutating func emitChunk(
    _ chunk: TCPSender.Chunk, into transmit: inout Transmit, context: inout StackContext, pool: inout SlabPool,
    now: Instant
  ) -> Bool {
    var chunk = chunk
    if chunk.count > 0 {
      let gathered = sender.queue.gather(
        from: chunk.start - sender.base, limit: chunk.count, maximumSlices: context.configuration.maximumSlices,
        into: &transmit.payload, pool: &pool)
      if gathered < chunk.count {
        chunk.count = gathered
        chunk.hasFinish = false
        chunk.isLast = false
      }
    }
    var flags: TCPFlags = .ack
    if chunk.isLast, chunk.count > 0 { flags.insert(.psh) }
    if chunk.hasFinish { flags.insert(.fin) }
    let header = makeHeader(chunk.start, flags: flags, context: context, now: now)
    write(header, payloadCount: chunk.count, into: &transmit, context: context, pool: pool)
    let sentFrom = sender.nxt
    sender.sent(chunk, now: now)
    // What a probe would ask is answered with the data.
    needsProbe = false
    if chunk.hasFinish {
      switch state {
      case .established: state = .finWait1
      case .closeWait: state = .lastAck
      default: break
      }
    }
    needsAcknowledgement = false
    if chunk.start != sentFrom { context.counters.retransmittedSegments &+= 1 }
    if chunk.count > 0 {
      context.counters.segmentsOut &+= 1
      context.counters.payloadBytesOut &+= UInt64(chunk.count)
      if chunk.count > sender.maximumSegment { context.counters.superSegmentsOut &+= 1 }
    }
    return true
  }

  private mutating func emitAcknowledgement(
    into transmit: inout Transmit, context: inout StackContext, pool: borrowing SlabPool, now: Instant
  ) -> Bool {
    guard needsAcknowledgement, state != .synSent else { return false }
    needsAcknowledgement = owedDuplicates > 0
    owedDuplicates = max(0, owedDuplicates - 1)
    context.counters.pureAcksOut &+= 1
    var header = makeHeader(sender.nxt, flags: .ack, context: context, now: now)
    if sender.hasSack {
      // 40 bytes of options: 4 blocks, or 3 behind a timestamp (RFC 2018 section 3).
      header.options.sackBlocks = receiver.takeSelectiveReport(limit: hasTimestamps ? 3 : 4)
    }
    write(header, payloadCount: 0, into: &transmit, context: context, pool: pool)
    return true
  }

  private mutating func emitSynchronize(
    into transmit: inout Transmit, context: inout StackContext, pool: borrowing SlabPool, now: Instant
  ) {
    let configuration = context.configuration
    needsSynchronize = false
    needsAcknowledgement = false
    let isAnswer = state != .synSent
    var header = makeHeader(sender.initial, flags: isAnswer ? [.syn, .ack] : .syn, context: context, now: now)
    header.options.maximumSegmentSize = announcedSegment
    if !isAnswer {
      header.acknowledgement = 0
      header.options.windowScale = UInt8(configuration.windowShift)
      header.options.sackPermitted = configuration.selectiveAcknowledgements
      if configuration.timestamps {
        header.options.timestamps = TCPOptions.Timestamps(value: timestamp(now), echo: 0)
      }
    } else {
      // An answer offers what the SYN offered (RFC 7323 sections 2.2 and 3.2, RFC 2018 section 2).
      if peerScalesWindow { header.options.windowScale = UInt8(receiver.windowShift) }
      header.options.sackPermitted = sender.hasSack
    }
    write(header, payloadCount: 0, into: &transmit, context: context, pool: pool)
    sender.sentSynchronize(now: now)
  }

  private func write(
    _ header: TCPHeader, payloadCount: Int, into transmit: inout Transmit, context: borrowing StackContext,
    pool: borrowing SlabPool
  ) {
    transmit.writeSegment(
      header, to: tuple, payloadCount: payloadCount, segmentSize: sender.maximumSegment,
      configuration: context.configuration, pool: pool)
  }

  /// A header with everything that each segment carries: numbers, window, timestamps.
  private mutating func makeHeader(
    _ sequence: SequenceNumber, flags: TCPFlags, context: borrowing StackContext, now: Instant
  ) -> TCPHeader {
    let isSynchronize = flags.contains(.syn)
    var header = TCPHeader(
      sourcePort: tuple.destination.port, destinationPort: tuple.source.port, sequence: sequence.value,
      acknowledgement: receiver.next.value, flags: flags,
      window: receiver.advertise(
        maximum: context.configuration.maximumReceiveWindow, isSynchronize: isSynchronize))
    lastAcknowledged = receiver.next
    if hasTimestamps { header.options.timestamps = TCPOptions.Timestamps(value: timestamp(now), echo: recentTimestamp) }
    return header
  }
}
