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
  case explain(TransportProtocol, Endpoint, @Sendable (Explanation) -> Void)
  case agents(@Sendable ([AgentAlias]) -> Void)
  case openLocal(LocalStreamCore, site: String, agent: String, port: UInt16)
  case localWritten(LocalStreamCore, SlotID)
  case localConsumed(SlotID, Int)
  case localReset(SlotID)
  case probe
  case stop
}

extension AdapterCommand {
  /// Answers for a loop that has stopped, so that nobody waits for good.
  func abandon() {
    switch self {
    case .attach(_, onEnd: _, let done): done(.failed(.session("the adapter has stopped")))
    case .status(let done): done(AdapterStatus())
    case .explain(let transport, let destination, let done):
      done(
        Explanation(
          transport: transport, destination: destination, verdict: .denied(.noAgent(destination.address)),
          lastRefusal: nil))
    case .agents(let done): done([])
    case .openLocal(let core, site: _, agent: _, port: _): core.fail(.stopped)
    case .detach, .localWritten, .localConsumed, .localReset, .probe, .stop: break
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
        if let id = siteIDs[site] { leaveSite(id, reason) }
      case .status(let done): done(status)
      case .explain(let transport, let destination, let done): done(explain(transport, destination))
      case .agents(let done): done(table.all)
      case .openLocal(let core, let site, let agent, let port): openLocal(core, site, agent, port)
      case .localWritten(let core, let id):
        if bindings.contains(id) { pump(core, id) }
      case .localConsumed(let id, let count):
        guard bindings.contains(id) else { continue }
        let binding = bindings[id]
        sites[binding.site].peer.session.consumed(binding.stream, count, now: now)
      case .localReset(let id):
        guard bindings.contains(id) else { continue }
        let binding = bindings[id]
        sites[binding.site].peer.session.reset(binding.stream, .reset, pool: &pool)
        unbind(id)
      case .probe:
        for id in siteList { sites[id].peer.session.probe(now: now) }
      case .stop: isStopping = true
      }
    }
  }

  private mutating func attach(
    _ established: consuming EstablishedSession, _ onEnd: @escaping @Sendable (SessionEnd) -> Void
  ) -> AttachOutcome {
    guard sites.count < configuration.sessions else { return .failed(.tooManySites(configuration.sessions)) }
    let name = established.site
    let agents = established.agents
    // A site's new session replaces its old one.
    if let old = siteIDs[name] { endSite(old, .local("a new session replaces this one")) }
    do {
      let site = try makeSite(established, onEnd)
      let fd = site.peer.socket.rawValue
      let id = sites.insert(site)
      siteList = sites.ids
      siteIDs[name] = id
      try poller.add(fd, token: id.token, for: [.readable, .writable, .peerClosed, .edge])
      table.add(site: name, agents: agents)
      return .attached(table.all.filter { $0.site == name })
    } catch {
      return .failed(.session("\(error)"))
    }
  }

  private mutating func makeSite(
    _ established: consuming EstablishedSession, _ onEnd: @escaping @Sendable (SessionEnd) -> Void
  ) throws -> AttachedSite {
    let session = try Session(role: .link, secrets: established.secrets, limits: configuration.session, now: now)
    let name = established.site
    let surplus = established.surplus
    var peer = SessionSocket(session: session, socket: try established.prepareSocket())
    try peer.receive(surplus: surplus, pool: &pool, now: now)
    return AttachedSite(name: name, peer: peer, since: now, onEnd: onEnd)
  }

  // MARK: Local streams

  private mutating func openLocal(_ core: LocalStreamCore, _ site: String, _ agent: String, _ port: UInt16) {
    guard let alias = table.all.first(where: { $0.site == site && $0.agent.name == agent }),
      let address = (alias.v4 ?? alias.v6)?.address
    else {
      core.fail(.unknownAgent("\(site)/\(agent)"))
      return
    }
    let destination = Endpoint(address, port)
    switch table.verdict(.tcp, destination) {
    case .denied(let denial): core.fail(.denied(denial))
    case .permitted(let alias, let offset):
      do throws(Refusal) {
        _ = try open(.local(core), alias, .tcp, destination, offset)
      } catch {
        core.fail(.refused(error))
      }
    }
  }

  /// Moves what a local stream's user has written into its stream, as far as the credit goes.
  mutating func pump(_ core: LocalStreamCore, _ id: SlotID) {
    let binding = bindings[id]
    while true {
      let credit = min(sites[binding.site].peer.session.sendCredit(binding.stream), 64 * 1024)
      guard credit > 0 else { return }
      let (bytes, isFinished) = core.takeOutbound(credit)
      if !bytes.isEmpty {
        guard let slice = pool.copy(bytes.span, in: &readLane) else { return }
        try? sites[binding.site].peer.session.send(binding.stream, slice, pool: &pool)
      }
      if isFinished { sites[binding.site].peer.session.finish(binding.stream) }
      if bytes.isEmpty || isFinished { return }
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
