import Framing
import Kernel
import Primitives

/// The device side of the loop: dialling, and bytes between device sockets and streams.
extension SiteLoop {
  // MARK: Opening

  mutating func openFlow(_ id: StreamID) {
    guard let request = peer.session.request(of: id) else { return }
    do throws(Refusal) {
      guard let transport = request.protocol.transport else { return try openService(id, request) }
      let (target, isFTPData) = try policy.target(for: request, announced: pinholes, now: now)
      guard endReason == nil else { throw Refusal(.sessionEnded) }
      guard transport != .tcp || diallingCount < limits.dialling else {
        throw Refusal(.tooMany, "\(limits.dialling) dials are under way")
      }
      var flow = try dial(id, request, transport, target)
      if isFTPData { pinholes.close(target, of: request.agent) }
      flow.isFTPData = isFTPData
      if transport == .tcp, policy.carriesFTP(agent: request.agent, request.port) { flow.ftp = FTPControl() }
      insert(flow)
    } catch {
      refuse(id, error)
    }
  }

  /// Takes a flow up whose socket is there.
  mutating func insert(_ flow: consuming DeviceFlow) {
    let fd = flow.socket.rawValue
    let id = flow.id
    if flow.phase == .dialling { diallingCount += 1 }
    let key = flows.insert(flow)
    setKey(key, of: id)
    do throws(SystemError) {
      try poller.add(fd, token: key.token, for: [.readable, .writable, .peerClosed, .edge])
    } catch {
      refuse(key, Refusal(.siteError, "\(error)"))
      return
    }
    if flows[key].phase == .open { accept(key) }
  }

  private func dial(
    _ id: StreamID, _ request: OpenRequest, _ transport: TransportProtocol, _ target: Endpoint
  ) throws(Refusal) -> DeviceFlow {
    do throws(SystemError) {
      switch transport {
      case .tcp:
        let socket = try Socket.connect(to: target)
        try configure(socket)
        return DeviceFlow(
          id: id, agent: request.agent, .tcp, target: target, socket: socket, phase: .dialling, since: now,
          deadline: now + limits.dialTimeout)
      case .udp:
        let socket = try Socket.connect(to: target, .datagram)
        try Socket.setReceiveBuffer(socket, bytes: limits.datagramBuffer)
        let isJoined = Socket.joinDatagrams(socket)
        var flow = DeviceFlow(
          id: id, agent: request.agent, .udp, target: target, socket: socket, phase: .open, since: now,
          deadline: now + limits.datagramIdle)
        if isJoined { flow.segmentLimit = DatagramGather.byteLimit }
        return flow
      case .icmp:
        var flow = DeviceFlow(
          id: id, agent: request.agent, .icmp, target: target,
          socket: try EchoSocket.open(to: target.address), phase: .open, since: now,
          deadline: now + limits.echoIdle)
        flow.echoIdentifier = UInt16.random(in: 1...UInt16.max)
        return flow
      }
    } catch {
      throw Refusal(dialling: error)
    }
  }

  /// From its first moment a device's socket is one whose loss the device notices: whatever becomes of this process, it
  /// sees a reset, and only what has ended in order looks so. The kernel asks a device that says nothing whether it is
  /// still there: half of its time in silence, the other half in three questions.
  func configure(_ socket: borrowing OwnedDescriptor) throws(SystemError) {
    try Socket.setNoDelay(socket)
    Socket.resetOnClose(socket)
    let half = CInt(clamping: limits.deviceSilence.milliseconds / 2000)
    try Socket.setKeepalive(socket, idle: max(1, half), interval: max(1, half / 3), probes: 3)
  }

  /// Ends flows to devices that don't acknowledge what was sent to them. Keepalive doesn't: it rests while data waits.
  mutating func cutSilentDevices() {
    for key in flows.ids where flows[key].kind == .tcp && flows[key].phase == .open {
      guard let silence = Socket.silence(of: flows[key].socket), silence.unanswered >= Self.questions,
        silence.time >= limits.deviceSilence
      else { continue }
      fail(key, SystemError(call: "TCP_INFO", code: SystemError.connectionTimedOut))
    }
  }

  /// Unanswered segments that tell silence from one lost segment after a long pause.
  private static var questions: Int { 3 }

  mutating func accept(_ key: SlotID) {
    status.flowsByAgent[flows[key].agent, default: 0] += 1
    let dial = now - flows[key].since
    flows[key].dial = dial
    report(.opened(dial), key)
    peer.session.accept(flows[key].id)
  }

  // MARK: Readiness

  mutating func deviceReady(_ key: SlotID, _ readiness: Readiness) {
    guard flows.contains(key) else { return }
    if flows[key].phase == .listening { return takeDataConnection(key) }
    if flows[key].phase == .dialling {
      finishDial(key)
      guard flows.contains(key), flows[key].phase == .open else { return }
    }
    // What isn't read for want of credit would tell of its reset only when its reader goes on, which may be never.
    if readiness.contains(.failed), flows[key].stream.waitsForCredit, let error = Socket.pendingError(flows[key].socket)
    {
      fail(key, error)
      return
    }
    flows[key].stream.became(
      readable: readiness.contains(.readable), writable: readiness.contains(.writable),
      closed: !readiness.isDisjoint(with: [.peerClosed, .hangUp, .failed]))
    scheduleRead(key)
    scheduleWrite(key)
  }

  private mutating func finishDial(_ key: SlotID) {
    if let error = Socket.pendingError(flows[key].socket) {
      refuse(key, Refusal(dialling: error))
      return
    }
    guard Socket.peerEndpoint(flows[key].socket) != nil else { return }
    flows[key].phase = .open
    diallingCount -= 1
    accept(key)
  }

  mutating func scheduleWrite(_ key: SlotID) {
    guard flows.contains(key), !flows[key].isInWriteList, flows[key].stream.isWritable, flows[key].phase == .open
    else { return }
    flows[key].isInWriteList = true
    writeList.append(key)
  }

  mutating func scheduleRead(_ key: SlotID) {
    guard flows.contains(key), !flows[key].isInReadList, flows[key].stream.wantsRead else { return }
    flows[key].isInReadList = true
    readList.append(key)
  }

  // MARK: Peer to device

  mutating func queue(_ slice: Slice, for key: SlotID) {
    guard flows.contains(key) else {
      pool.release(slice)
      return
    }
    if flows[key].ftp != nil { return queueCommands(slice, for: key) }
    flows[key].stream.queue(slice, pool: &pool)
    scheduleWrite(key)
  }

  mutating func writeDevices() {
    while let key = writeList.popFirst() {
      guard flows.contains(key) else { continue }
      flows[key].isInWriteList = false
      write(key)
    }
  }

  private mutating func write(_ key: SlotID) {
    while true {
      switch flows[key].stream.nextWrite {
      case .send:
        do throws(SystemError) {
          try send(key)
        } catch {
          return fail(key, error)
        }
      case .finish:
        flows[key].stream.finishWasForwarded()
        Socket.finish(flows[key].socket)
      case .close: return drop(key, reset: false, .finished)
      case .wait: return
      }
    }
  }

  private mutating func send(_ key: SlotID) throws(SystemError) {
    switch try flows[key].sendPending(gather, pool: &pool) {
    case .moved(let count):
      status.payloadWrites += 1
      status.payloadWriteBytes += UInt64(count)
      flows[key].bytesToDevice &+= UInt64(count)
      peer.session.consumed(flows[key].id, count, now: now)
      // A slow device that takes the last of a finished stream gets all of it.
      if flows[key].stream.isDraining { flows[key].deadline = now + limits.drainTimeout }
    case .wouldBlock, .ended: flows[key].stream.writeWouldBlock()
    }
  }

  private mutating func fail(_ key: SlotID, _ error: SystemError) {
    let isTimeout = error.code == SystemError.connectionTimedOut
    peer.session.reset(flows[key].id, isTimeout ? .timedOut : .reset, pool: &pool)
    drop(key, reset: true, isTimeout ? .timedOut(.device) : .reset(.device))
  }

  // MARK: Device to peer

  mutating func readDevices() throws(SessionEnd) {
    var turns = readList.count
    while turns > 0, canRead, let key = readList.popFirst() {
      turns -= 1
      guard flows.contains(key) else { continue }
      flows[key].isInReadList = false
      switch flows[key].kind {
      case .tcp, .discovery, .capture: readStream(key)
      case .udp: readDatagrams(key)
      case .icmp: readEchoes(key)
      case .ethernet: break
      }
      // Sealed while still warm, and sent before more is read.
      if peer.session.hasOutput { try connection.flush(&peer, pool: &pool, now: now) }
      scheduleRead(key)
    }
  }

  private mutating func readStream(_ key: SlotID) {
    // Without credit it is out of the list until a WINDOW frame takes it up again.
    let credit = peer.session.sendCredit(flows[key].id)
    guard let size = flows[key].stream.nextRead(credit: credit, limit: limits.readSize),
      let region = pool.reserve(size, in: &readLane)
    else { return }
    do throws(SystemError) {
      switch try flows[key].socket.read(into: region, pool: pool) {
      case .moved(let count):
        let slice = pool.commit(region, count: count, in: &readLane)
        status.payloadReads += 1
        status.payloadReadBytes += UInt64(count)
        flows[key].bytesFromDevice &+= UInt64(count)
        let replies = flows[key].ftp == nil ? nil : pool.array(slice)
        try? peer.session.send(flows[key].id, slice, pool: &pool)
        flows[key].stream.read(count, of: size)
        if let replies { readReplies(replies, of: key) }
      case .wouldBlock: flows[key].stream.readWouldBlock()
      case .ended:
        flows[key].stream.readEnded()
        peer.session.finish(flows[key].id)
      }
    } catch {
      fail(key, error)
    }
  }
}
