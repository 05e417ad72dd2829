import Kernel
import Packet
import Primitives

/// How a capture came to its end.
public enum CaptureEnd: Hashable, Sendable {
  /// Somebody stopped it, or its bounds of packets or time are reached.
  case stopped
  /// Whoever read it has gone.
  case readerGone
  case failed(SystemError)
}

extension Capture {
  /// A look for packets is made this often; sooner when a part of the ring is full.
  private static let interval = Interval.milliseconds(20)
  /// Bytes that are put together before they are written.
  private static let batch = 256 << 10

  /// Writes the capture to a descriptor until it ends. Blocks; to be called once.
  ///
  /// Interface statistics are written last. A pipe or socket whose reader goes away, or shuts down its sending side,
  /// ends the capture: for a pipe, in a process that has SIGPIPE ignored (`SignalDescriptor.ignoreBrokenPipes`).
  /// - Parameter output: is made non-blocking.
  public func run(to output: borrowing OwnedDescriptor) -> CaptureEnd {
    do throws(SystemError) {
      let poller = try Poller()
      try poller.add(ring.wakeup.descriptor.rawValue, token: 0, for: .readable)
      try output.setNonblocking(true)
      // A plain file can't be polled, and needn't be.
      try? poller.add(output.rawValue, token: 1, for: .peerClosed)
      return run(to: output, poller)
    } catch {
      return .failed(error)
    }
  }

  private func run(to output: borrowing OwnedDescriptor, _ poller: borrowing Poller) -> CaptureEnd {
    run { bytes throws(SystemError) in
      try write(bytes, to: output)
    } pause: { () throws(SystemError) in
      let count = try poller.wait(timeout: Self.interval)
      ring.wakeup.clear()
      return (0..<count).contains { poller.event($0).token == 1 }
    }
  }

  /// Writes the capture to a ring of files until it ends. Blocks; to be called once.
  public func run(to files: inout PcapngFiles) -> CaptureEnd {
    do throws(SystemError) {
      let poller = try Poller()
      try poller.add(ring.wakeup.descriptor.rawValue, token: 0, for: .readable)
      return run(to: &files, poller)
    } catch {
      return .failed(error)
    }
  }

  private func run(to files: inout PcapngFiles, _ poller: borrowing Poller) -> CaptureEnd {
    run { bytes throws(SystemError) in
      try files.write(bytes)
      return true
    } pause: { () throws(SystemError) in
      _ = try poller.wait(timeout: Self.interval)
      ring.wakeup.clear()
      return false
    }
  }

  /// - Parameters:
  ///   - deliver: whether there is still a reader.
  ///   - pause: waits for what comes next; whether the reader has gone meanwhile.
  private func run(
    deliver: (Span<UInt8>) throws(SystemError) -> Bool, pause: () throws(SystemError) -> Bool
  ) -> CaptureEnd {
    defer { stop() }
    let deadline = configuration.timeLimit.map { Clock.now + $0 }
    var blocks = PcapngBlocks()
    var known = 0
    var written: UInt64 = 0
    do throws(SystemError) {
      blocks.section()
      while true {
        let isLast = isStopped || deadline.map { Clock.now >= $0 } ?? false
        var isFull = false
        while !isFull, let found = ring.next() {
          put(found, into: &blocks, known: &known)
          ring.release(found)
          written += 1
          if blocks.bytes.count >= Self.batch {
            guard try deliver(blocks.bytes.span) else { return .readerGone }
            blocks.removeAll()
          }
          isFull = configuration.packetLimit.map { written >= $0 } ?? false
        }
        if isLast || isFull {
          stop()
          for index in 0..<known {
            blocks.statistics(interface: index, nanoseconds: Clock.unixNanoseconds, counters(of: index))
          }
        }
        if !blocks.bytes.isEmpty {
          guard try deliver(blocks.bytes.span) else { return .readerGone }
          blocks.removeAll()
        }
        if isLast || isFull { return .stopped }
        ring.willSleep()
        if try pause() {
          // Who wants no more may still read what there is.
          stop()
        }
      }
    } catch {
      return .failed(error)
    }
  }

  private func put(_ found: (place: Int, count: Int), into blocks: inout PcapngBlocks, known: inout Int) {
    let bytes = unsafe UnsafeRawBufferPointer(ring.bytes(at: found.place, count: found.count))
    let record = unsafe bytes.load(as: CaptureRecord.self)
    if Int(record.interface) >= known {
      for interface in interfaces(from: known) {
        blocks.interface(interface, snapLength: configuration.snapLength, filter: configuration.filter)
        known += 1
      }
    }
    let fixed = MemoryLayout<CaptureRecord>.stride
    let start = fixed + Int(record.commentCount)
    var comment = unsafe Array(bytes[fixed..<start])
    if record.segmentSize > 0 {
      comment += Array("; super-segment: parts of \(record.segmentSize) bytes".utf8)
    }
    if record.flags & CaptureRecord.partialChecksum != 0 { comment += Array("; checksum not computed".utf8) }
    if comment.first == UInt8(ascii: ";") { comment.removeFirst(2) }
    let packet = unsafe UnsafeRawBufferPointer(rebasing: bytes[start..<(start + Int(record.capturedCount))])
    blocks.packet(
      interface: Int(record.interface), nanoseconds: record.nanoseconds, originalCount: Int(record.originalCount),
      direction: PacketDirection(rawValue: UInt32(record.direction)) ?? .unknown, comment: comment,
      unsafe packet.assumingMemoryBound(to: UInt8.self).span)
  }

  /// Writes all of it; waits for a reader that is slow, but not for one that has gone, and not once it was stopped.
  private func write(_ bytes: Span<UInt8>, to output: borrowing OwnedDescriptor) throws(SystemError) -> Bool {
    var start = 0
    // A reader that stands still when the capture is stopped has this long to take the rest.
    var patience: Instant?
    while start < bytes.count {
      do throws(SystemError) {
        switch try output.write(bytes.extracting(start..<bytes.count)) {
        case .moved(let count):
          start += count
          continue
        case .ended: return false
        case .wouldBlock: break
        }
      } catch {
        if error.isBrokenPipe { return false }
        throw error
      }
      if isStopped {
        let end = patience ?? Clock.now + .seconds(2)
        patience = end
        guard Clock.now < end else { return false }
      }
      do throws(WaitError) {
        try output.wait(for: .writable, until: Clock.now + .milliseconds(100))
      } catch {
        if case .system(let failure) = error { throw failure }
      }
    }
    return true
  }
}
