import Framing
import Primitives
import Proxy

/// Byte streams of this process: the same table, the same streams, no packets.
extension AdapterCore {
  mutating func openLocal(
    _ core: LocalStreamCore, _ site: String, _ agent: String, _ target: LocalStreamCore.Target, now: Instant
  ) {
    guard let alias = table.all.first(where: { $0.site == site && $0.agent.name == agent }) else {
      core.fail(.unknownAgent("\(site)/\(agent)"))
      return
    }
    let port: UInt16
    switch target {
    case .port(let number): port = number
    case .service(let kind):
      // The site judges it: what an agent offers is no matter of addresses.
      do throws(Refusal) {
        let request = OpenRequest(agent: agent, protocol: kind)
        _ = try open(.local(core), alias, request, from: nil, .unspecified, now: now)
      } catch {
        core.fail(.refused(error))
      }
      return
    }
    guard let address = (alias.v4 ?? alias.v6)?.address else {
      core.fail(.unknownAgent("\(site)/\(agent)"))
      return
    }
    let destination = Endpoint(address, port)
    switch table.verdict(.tcp, destination) {
    case .denied(let denial): core.fail(.denied(denial))
    case .permitted(let alias, let offset):
      do throws(Refusal) {
        _ = try open(.local(core), alias, .tcp, from: nil, destination, offset, now: now)
      } catch {
        core.fail(.refused(error))
      }
    }
  }

  /// Moves what a local stream's user has written into its stream, as far as the credit goes.
  mutating func pump(_ core: LocalStreamCore, _ id: SlotID) {
    guard bindings.contains(id) else { return }
    let binding = bindings[id]
    while true {
      let credit = min(sites[binding.site].peer.session.sendCredit(binding.stream), 64 * 1024)
      guard credit > 0 else { return }
      let (bytes, isFinished) = core.takeOutbound(credit)
      if !bytes.isEmpty {
        guard let slice = pool.copy(bytes.span, in: &localLane) else { return }
        try? sites[binding.site].peer.session.send(binding.stream, slice, pool: &pool)
      }
      if isFinished { sites[binding.site].peer.session.finish(binding.stream) }
      if bytes.isEmpty || isFinished { return }
    }
  }

  /// A local stream's user has read this many bytes.
  mutating func consumedLocal(_ id: SlotID, _ count: Int, now: Instant) {
    guard bindings.contains(id) else { return }
    let binding = bindings[id]
    sites[binding.site].peer.session.consumed(binding.stream, count, now: now)
  }

  /// A local stream's user has cut it.
  mutating func resetLocal(_ id: SlotID, now: Instant) {
    guard bindings.contains(id) else { return }
    let binding = bindings[id]
    sites[binding.site].peer.session.reset(binding.stream, .reset, pool: &pool)
    unbind(id, .reset(.application), now: now)
  }
}
