import Framing
import Packet
import Primitives
import Proxy
import Stack

/// Pings: one flow for each application that pings an alias.
extension AdapterCore {
  mutating func forward(_ echo: Echo, _ payload: Slice, now: Instant) {
    let key = EchoKey(echo)
    let destination = Endpoint(echo.destination, 0)
    if bindingOfEcho[key] == nil {
      switch table.verdict(.icmp, destination) {
      case .denied(let denial):
        refusals.add(.icmp, destination, label: denial.label, reason: denial.description, connection: nil, now: now)
        reportDenial(denial.description, .icmp, from: Endpoint(echo.source, 0), to: destination)
        stack.sendUnreachable(echo, .adminProhibited, now: now)
        pool.release(payload)
        return
      case .permitted(let alias, let offset):
        do throws(Framing.Refusal) {
          guard bindingOfEcho.count < configuration.echoFlows else {
            throw Framing.Refusal(.tooMany, "\(bindingOfEcho.count) pings are under way")
          }
          bindingOfEcho[key] = try open(
            .echo(key), alias, .icmp, from: Endpoint(echo.source, 0), destination, offset, now: now)
        } catch {
          refusals.add(
            .icmp, destination, label: "\(error.reason)", reason: "\(alias.name): \(error)", connection: nil, now: now)
          pool.release(payload)
          return
        }
      }
    }
    guard let id = bindingOfEcho[key] else {
      pool.release(payload)
      return
    }
    bindings[id].deadline = now + configuration.echoIdle
    let binding = bindings[id]
    // Identifier and sequence number stand right before the data in the packet (RFC 792).
    let message = Slice(slab: payload.slab, offset: Int(payload.offset) - 4, count: payload.count + 4)
    sites[binding.site].peer.session.sendDatagram(binding.stream, message, pool: &pool)
  }

  mutating func answerEcho(_ message: Slice, _ id: SlotID?, now: Instant) {
    guard let id, case .echo(let key) = bindings[id].end else {
      pool.release(message)
      return
    }
    let (identifier, sequence) = pool.withSpan(message) { bytes in
      (UInt16(bytes[0]) << 8 | UInt16(bytes[1]), UInt16(bytes[2]) << 8 | UInt16(bytes[3]))
    }
    guard identifier == key.identifier else {
      pool.release(message)
      return
    }
    let echo = Echo(
      source: key.source, destination: key.destination, identifier: identifier, sequence: sequence,
      payloadCount: message.count - 4)
    stack.sendEchoReply(echo, message.dropping(4), pool: &pool, now: now)
  }

  mutating func sweepEchoes(now: Instant) {
    for (_, id) in bindingOfEcho where bindings[id].deadline.map({ now >= $0 }) ?? false {
      let binding = bindings[id]
      sites[binding.site].peer.session.reset(binding.stream, .limit, pool: &pool)
      unbind(id, .idle, now: now)
    }
  }
}
