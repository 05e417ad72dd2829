import Framing
import Kernel
import Primitives

/// FTP at the site: what control connections may say, and the data connections that follow from it.
///
/// The device's own words decide what the LinkManager may open (PASV, EPSV). Towards the device, no command passes that
/// names an endpoint other than one where this loop listens for it: a device can't be made to connect elsewhere, which
/// is the bounce attack of RFC 2577 section 3.
extension SiteLoop {
  // MARK: Control connections

  /// Takes what the client says; copied, since it is little, and since it may have to wait or change.
  mutating func queueCommands(_ slice: Slice, for key: SlotID) {
    let bytes = pool.array(slice)
    pool.release(slice)
    flows[key].ftp?.receiveCommands(bytes.span)
    forwardCommands(key)
  }

  mutating func finishCommands(_ key: SlotID) {
    flows[key].ftp?.finishCommands()
    forwardCommands(key)
  }

  /// Looks at what the device says, which goes on as it is.
  mutating func readReplies(_ bytes: [UInt8], of key: SlotID) {
    flows[key].ftp?.receiveReplies(bytes.span)
    _ = flows[key].ftp?.takeReplies()
    forwardCommands(key)
  }

  private mutating func forwardCommands(_ key: SlotID) {
    while let event = flows[key].ftp?.nextEvent() { decide(event, key) }
    guard let bytes = flows[key].ftp?.takeCommands(), !bytes.isEmpty else { return }
    guard let slice = pool.copy(bytes.span, in: &readLane) else {
      peer.session.reset(flows[key].id, .limit, pool: &pool)
      return drop(key, reset: true, .limit(.site))
    }
    flows[key].stream.pending.append(pool.compact(slice), pool: &pool)
    scheduleWrite(key)
  }

  private mutating func decide(_ event: FTPControl.Event, _ key: SlotID) {
    switch event {
    case .passive(let port):
      guard policy.carriesFTP(agent: flows[key].agent, flows[key].target.port) else { return }
      let endpoint = Endpoint(flows[key].target.address, port)
      pinholes.open(endpoint, of: flows[key].agent, by: key, now: now)
    case .active(let endpoint):
      let isOwn = listeners(of: key).contains { flows[$0].listensAt == endpoint }
      if !isOwn { reportRefusedCommand(key, "an FTP client wants the device to connect to \(endpoint)") }
      flows[key].ftp?.decide(isOwn ? .keep : .refuse)
    case .spoiled: reportRefusedCommand(key, "an FTP client says unintelligibly where it listens")
    }
  }

  private mutating func reportRefusedCommand(_ key: SlotID, _ text: String) {
    status.refusals["FTP: foreign endpoint", default: 0] += 1
    reportListener(key, Refusal(.addressNotPermitted, text))
  }

  /// Tells of a data connection that wasn't, by its control connection.
  func reportListener(_ control: SlotID, _ refusal: Refusal) {
    guard flows.contains(control) else { return }
    report(.refused(refusal), control)
  }

  /// Takes back what a control connection was allowed that has ended. Data connections that are open go on.
  mutating func endControl(_ key: SlotID) {
    pinholes.closeAll(of: key)
    for listener in listeners(of: key) {
      peer.session.reset(flows[listener].id, .reset, pool: &pool)
      drop(listener, reset: false, .revoked)
    }
  }

  // MARK: Data connections from the device

  /// Listens for one connection of the device that a control connection leads to.
  mutating func listen(_ id: StreamID) {
    guard let request = peer.session.listenRequest(of: id) else { return }
    do throws(Refusal) {
      let control = key(of: request.control)
      guard endReason == nil else { throw Refusal(.sessionEnded) }
      if let deadline = policy.deadline, now >= deadline { throw Refusal(.grantEnded) }
      guard flows.contains(control), flows[control].phase == .open, flows[control].ftp != nil,
        policy.carriesFTP(agent: flows[control].agent, flows[control].target.port)
      else { throw Refusal(.portNotPermitted, "there is no FTP control connection for it") }
      makeRoom(control)
      guard listenerCount < limits.ftp.listeners else {
        throw Refusal(.tooMany, "the site listens for \(listenerCount) FTP data connections")
      }
      try listen(id, control)
    } catch {
      refuse(id, error)
    }
  }

  private mutating func listen(_ id: StreamID, _ control: SlotID) throws(Refusal) {
    do throws(SystemError) {
      // The device finds this address: it is the one that its control connection comes from.
      guard let local = Socket.localEndpoint(flows[control].socket) else { throw SystemError.last("getsockname") }
      let socket = try Socket.listen(on: Endpoint(local.address, 0), backlog: 1)
      guard let endpoint = Socket.localEndpoint(socket) else { throw SystemError.last("getsockname") }
      let fd = socket.rawValue
      var flow = DeviceFlow(
        id: id, agent: flows[control].agent, .tcp, target: Endpoint(flows[control].target.address, 0),
        socket: socket, phase: .listening, since: now,
        deadline: now + limits.ftp.announcementLifetime)
      flow.isFTPData = true
      flow.control = control
      flow.listensAt = endpoint
      let key = flows.insert(flow)
      listenerCount += 1
      setKey(key, of: id)
      do throws(SystemError) {
        try poller.add(fd, token: key.token, for: [.readable, .edge])
      } catch {
        drop(key, reset: false, nil)
        throw error
      }
      peer.session.announce(ListenAnswer(endpoint: endpoint), for: id)
    } catch {
      throw Refusal(.siteError, "\(error)")
    }
  }

  /// Takes the device's connection, and no other one: the listener ends with it.
  mutating func takeDataConnection(_ key: SlotID) {
    do throws(SystemError) {
      while let connection = try Socket.accept(from: flows[key].socket) {
        guard let device = Socket.peerEndpoint(connection), device.address == flows[key].target.address else {
          Socket.resetOnClose(connection)
          guard turnAway(key) else { return }
          continue
        }
        try configure(connection)
        let fd = connection.rawValue
        flows[key].socket = connection
        flows[key].target = device
        flows[key].phase = .open
        listenerCount -= 1
        // The device has chosen the port, and the agent's name and address have been judged.
        accept(key)
        try poller.add(fd, token: key.token, for: [.readable, .writable, .peerClosed, .edge])
        return
      }
    } catch {
      peer.session.reset(flows[key].id, .internalError, pool: &pool)
      drop(key, reset: true, .failed(.site))
    }
  }

  /// Counts a connection of a stranger. `false` when there were too many and the listener is gone.
  private mutating func turnAway(_ key: SlotID) -> Bool {
    status.refusals["FTP: stranger", default: 0] += 1
    flows[key].strangers += 1
    guard flows[key].strangers >= limits.ftp.strangers else { return true }
    refuse(key, Refusal(.tooMany, "others than the device keep connecting to its FTP data port"))
    return false
  }

  /// The oldest listener of a control connection gives way: RFC 959 has one data connection at a time.
  private mutating func makeRoom(_ control: SlotID) {
    let listeners = listeners(of: control)
    guard listeners.count >= limits.ftp.announcements else { return }
    guard let oldest = listeners.min(by: { flows[$0].deadline < flows[$1].deadline }) else { return }
    refuse(oldest, Refusal(.tooMany, "a later FTP data connection took its place"))
  }

  private func listeners(of control: SlotID) -> [SlotID] {
    flows.ids.filter { flows[$0].phase == .listening && flows[$0].control == control }
  }
}
