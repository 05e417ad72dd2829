import Framing
import Kernel
import Primitives

/// Datagrams and echo messages between device sockets and flows.
extension SiteLoop {
  /// Datagrams of one flow that are read before others get their turn.
  private static let datagramBurst = 64

  // MARK: UDP

  /// Queues a datagram for its device. Those of one flow that follow each other are sent together: see `sendDatagrams`.
  mutating func queueDatagram(_ slice: Slice, for key: SlotID) {
    guard flows.contains(key) else {
      pool.release(slice)
      return
    }
    if key != datagramKey || datagrams.count >= DatagramGather.limit { sendDatagrams() }
    datagramKey = key
    datagrams.append(slice)
  }

  /// Sends what was queued, in order. Nothing waits beyond the events that are at hand.
  mutating func sendDatagrams() {
    guard !datagrams.isEmpty else { return }
    let key = datagramKey
    if flows.contains(key) { flows[key].deadline = now + limits.datagramIdle }
    while !datagrams.isEmpty, flows.contains(key) {
      do throws(SystemError) {
        let outcome = try flows[key].sendDatagrams(&datagrams, datagramGather, pool: &pool)
        // A full socket drops, as a network would.
        guard outcome.isSent else {
          status.deviceDatagramsDropped += UInt64(outcome.datagrams)
          continue
        }
        status.payloadWrites += 1
        status.payloadWriteBytes += UInt64(outcome.bytes)
        flows[key].bytesToDevice &+= UInt64(outcome.bytes)
      } catch {
        failDatagrams(key, error)
      }
    }
    while let slice = datagrams.popFirst() { pool.release(slice) }
  }

  mutating func readDatagrams(_ key: SlotID) {
    var budget = Self.datagramBurst
    while budget > 0 {
      // The largest UDP payload, or what came together; what isn't used of the region is not kept.
      guard let region = pool.reserve(65_536, in: &readLane) else { return }
      do throws(SystemError) {
        let (transfer, size) = try Socket.receiveDatagrams(into: region, from: flows[key].socket, pool: pool)
        switch transfer {
        case .moved(let count):
          status.payloadReads += 1
          status.payloadReadBytes += UInt64(count)
          flows[key].bytesFromDevice &+= UInt64(count)
          flows[key].deadline = now + limits.datagramIdle
          budget -= take(pool.commit(region, count: count, in: &readLane), segmentSize: size, of: key)
        case .wouldBlock:
          flows[key].stream.readWouldBlock()
          return
        case .ended:
          // An empty datagram: legal, and passed on as one (RFC 768 has no minimum).
          budget -= take(pool.commit(region, count: 0, in: &readLane), segmentSize: 0, of: key)
        }
      } catch {
        failDatagrams(key, error)
        return
      }
    }
  }

  /// Hands on what came by one read. Takes over the slice's reference; returns how many datagrams it was.
  private mutating func take(_ slice: Slice, segmentSize: Int, of key: SlotID) -> Int {
    var rest = slice
    var count = 1
    while segmentSize > 0, rest.count > segmentSize {
      let datagram = rest.prefix(segmentSize)
      rest = rest.dropping(segmentSize)
      pool.retain(datagram)
      peer.session.sendDatagram(flows[key].id, datagram, pool: &pool)
      count += 1
    }
    peer.session.sendDatagram(flows[key].id, rest, pool: &pool)
    return count
  }

  /// ICMP errors of the device's network arrive as errors of the connected socket.
  private mutating func failDatagrams(_ key: SlotID, _ error: SystemError) {
    guard !error.wouldBlock, !error.isMessageTooLong else { return }
    peer.session.reset(flows[key].id, .reset, pool: &pool)
    drop(key, reset: false, .reset(.device))
  }

  /// Counts what devices' sockets had no room for since the last look.
  mutating func countKernelDrops() {
    for key in flows.ids { countKernelDrops(key) }
  }

  /// Counts what a device's socket had no room for since the last look. A system call: not for the packet path.
  mutating func countKernelDrops(_ key: SlotID) {
    guard flows.contains(key), flows[key].kind == .udp else { return }
    let drops = Socket.droppedDatagrams(flows[key].socket)
    status.kernelDatagramsDropped &+= UInt64(drops &- flows[key].kernelDrops)
    flows[key].kernelDrops = drops
  }

  // MARK: Echo

  mutating func sendEcho(_ slice: Slice, for key: SlotID) {
    defer { pool.release(slice) }
    guard flows.contains(key), slice.count >= 4 else { return }
    flows[key].deadline = now + limits.echoIdle
    let target = flows[key].target.address
    let own = flows[key].echoIdentifier
    let (identifier, message) = pool.withSpan(slice) { bytes in
      (
        UInt16(bytes[0]) << 8 | UInt16(bytes[1]),
        EchoSocket.request(family: target.family, identifier: own, sequenceAndData: bytes.extracting(2..<bytes.count))
      )
    }
    flows[key].peerIdentifier = identifier
    do throws(SystemError) {
      _ = try flows[key].socket.write(message.span)
      flows[key].bytesToDevice &+= UInt64(slice.count - 4)
    } catch {
      peer.session.reset(flows[key].id, .reset, pool: &pool)
      drop(key, reset: false, .reset(.device))
    }
  }

  mutating func readEchoes(_ key: SlotID) {
    for _ in 0..<Self.datagramBurst {
      guard let region = pool.reserve(65_536, in: &readLane) else { return }
      let transfer: Transfer
      do throws(SystemError) {
        transfer = try flows[key].socket.read(into: region, pool: pool)
      } catch {
        peer.session.reset(flows[key].id, .reset, pool: &pool)
        drop(key, reset: false, .reset(.device))
        return
      }
      guard case .moved(let count) = transfer else {
        flows[key].stream.readWouldBlock()
        return
      }
      let flow = (flows[key].target.address.family, flows[key].echoIdentifier, flows[key].peerIdentifier)
      let start = pool.withSpan(region.prefix(count)) { bytes in
        EchoSocket.replyOffset(bytes, family: flow.0, identifier: flow.1)
      }
      guard let start else { continue }
      let packet = pool.commit(region, count: count, in: &readLane)
      let reply = packet.dropping(start)
      flows[key].bytesFromDevice &+= UInt64(max(0, reply.count - 4))
      pool.withMutableSpan(reply) { bytes in
        bytes[0] = UInt8(flow.2 >> 8)
        bytes[1] = UInt8(truncatingIfNeeded: flow.2)
      }
      peer.session.sendDatagram(flows[key].id, reply, pool: &pool)
    }
  }
}
