import Control
import Framing
import Kernel
import Primitives
import Proxy
import Tun

/// What other threads ask of the loop.
enum AdapterCommand: Sendable {
  case attach(
    Parcel<EstablishedSession>, onEnd: @Sendable (SessionEnd) -> Void, done: @Sendable (AttachOutcome) -> Void)
  case detach(site: String, reason: String)
  case status(@Sendable (AdapterStatus) -> Void)
  case flows(limit: Int, @Sendable ([FlowStatus]) -> Void)
  case explain(TransportProtocol, Endpoint, @Sendable (Explanation) -> Void)
  case agents(@Sendable ([AgentAlias]) -> Void)
  case openLocal(LocalStreamCore, site: String, agent: String, LocalStreamCore.Target)
  case localWritten(LocalStreamCore, SlotID)
  case localConsumed(SlotID, Int)
  case localReset(SlotID)
  case capture(Capture, @Sendable (Bool) -> Void)
  case endCapture(Capture)
  case networkChanged
  case stop
}

extension AdapterCommand {
  /// Answers for a loop that has stopped, so that nobody waits for good.
  func abandon() {
    switch self {
    case .attach(_, onEnd: _, let done): done(.failed(.session("the adapter has stopped")))
    case .status(let done): done(AdapterStatus())
    case .flows(limit: _, let done): done([])
    case .explain(let transport, let destination, let done):
      done(
        Explanation(
          transport: transport, destination: destination, verdict: .denied(.noAgent(destination.address)),
          lastRefusal: nil))
    case .agents(let done): done([])
    case .openLocal(let core, site: _, agent: _, _): core.fail(.stopped)
    case .capture(_, let done): done(false)
    case .detach, .localWritten, .localConsumed, .localReset, .endCapture, .networkChanged, .stop: break
    }
  }
}

extension Mailbox<AdapterCommand> {
  /// Sends a command that is answered in any case.
  func order(_ command: AdapterCommand) {
    if !send(command) { command.abandon() }
  }
}

/// What became of an attachment.
enum AttachOutcome: Sendable {
  case attached([AgentAlias])
  case failed(AdapterError)
}

extension AdapterLoop where Device: ~Copyable {
  mutating func handleCommands() {
    for command in mailbox.receive() {
      switch command {
      case .attach(let parcel, let onEnd, let done):
        guard let session = parcel.open() else { continue }
        done(attach(session, onEnd))
      case .detach(let site, let reason):
        removeLinks(of: site)
        core.leaveSite(named: site, reason, now: now)
      case .status(let done): done(status)
      case .flows(let limit, let done): done(core.describeFlows(limit: limit, now: now))
      case .explain(let transport, let destination, let done): done(core.explain(transport, destination))
      case .agents(let done): done(core.table.all)
      case .openLocal(let stream, let site, let agent, let target):
        core.openLocal(stream, site, agent, target, now: now)
      case .localWritten(let stream, let id): core.pump(stream, id)
      case .localConsumed(let id, let count): core.consumedLocal(id, count, now: now)
      case .localReset(let id): core.resetLocal(id, now: now)
      case .capture(let capture, let done):
        done(core.add(capture))
        tapsChanged()
      case .endCapture(let capture):
        core.remove(capture)
        tapsChanged()
      case .networkChanged:
        for id in core.siteList { core.sites[id].peer.session.probe(now: now) }
        repairDevice()
        keepOutOfHostNetworks()
      case .stop: isStopping = true
      }
    }
  }

  var status: AdapterStatus {
    mutating get {
      var status = core.status
      status.device = device.counters
      status.ethernet = describeLinks()
      for index in status.sites.indices {
        guard let id = core.siteIDs[status.sites[index].name] else { continue }
        status.sites[index].session.queues.kernel = connections[core.sites[id].connection].peer.unacknowledgedBytes
      }
      return status
    }
  }

  private mutating func attach(
    _ established: consuming EstablishedSession, _ onEnd: @escaping @Sendable (SessionEnd) -> Void
  ) -> AttachOutcome {
    let name = established.site
    guard core.hasRoom(for: name) else { return .failed(.tooManySites(configuration.sessions)) }
    let session = established.id
    let agents = established.agents
    let secrets = established.secrets
    let surplus = established.surplus
    do {
      let connection = SiteConnection(peer: SessionSocket(try established.prepareSocket()), onEnd: onEnd)
      let fd = connection.peer.socket.rawValue
      let id = connections.insert(connection)
      do {
        try poller.add(fd, token: id.token, for: [.readable, .writable, .peerClosed, .edge])
        _ = try core.attach(
          site: name, session: session, agents: agents, secrets: secrets, surplus: surplus, connection: id, now: now)
      } catch {
        _ = connections.remove(id)
        throw error
      }
      updateLinks(of: name)
      return .attached(core.table.all.filter { $0.site == name })
    } catch let error as AdapterError {
      return .failed(error)
    } catch {
      return .failed(.session("\(error)"))
    }
  }
}

extension EstablishedSession {
  /// The socket, set up for records.
  consuming func prepareSocket() throws(SystemError) -> OwnedDescriptor {
    try Socket.setNoDelay(socket)
    try Socket.setUnsentLimit(socket, bytes: 256 * 1024)
    try socket.setNonblocking(true)
    return socket
  }
}
