import Packet
import Primitives

/// ICMP and ICMPv6: echo, and errors in both directions.
extension Stack {
  // MARK: Errors sent

  /// Tells the source of a packet that its destination can't be reached, unless that is forbidden
  /// (RFC 1122 section 3.2.2, RFC 4443 section 2.4 (e)): never in answer to multicast, broadcast or an error.
  ///
  /// The packets that get here are TCP SYNs, UDP datagrams and echo requests, so that no error is answered;
  /// fragments are whole again by then.
  mutating func sendError(
    _ what: Unreachable, tuple: FiveTuple, quoting packet: Slice, pool: inout SlabPool, now: Instant
  ) {
    guard mayAnswer(tuple.source.address, about: tuple.destination.address, now: now) else { return }
    // RFC 1812 section 4.3.2.3: as much as fits into 576 bytes; RFC 4443 section 2.4 (c): into the minimum MTU.
    let limit = packet.count <= 0 ? 0 : tuple.source.address.family == .v4 ? 576 - 28 : 1280 - 48
    let quote = packet.prefix(min(packet.count, limit))
    pool.retain(quote)
    // The error bears the address that was asked for: there is no router with one of its own.
    let isQueued = queueDatagram(
      OutgoingDatagram(
        source: tuple.destination.address, destination: tuple.source.address, kind: .unreachable(what),
        payload: pool.compact(quote)), pool: &pool)
    if isQueued { context.counters.errorsOut &+= 1 }
  }

  private mutating func mayAnswer(_ source: IPAddress, about destination: IPAddress, now: Instant) -> Bool {
    guard !source.isUnspecified, !source.isMulticast, !source.isBroadcast, !destination.isMulticast,
      !destination.isBroadcast
    else { return false }
    guard context.errorLimiter.allow(now: now) else {
      context.counters.drop(.rateLimit)
      return false
    }
    return true
  }

  // MARK: Messages received

  /// - Parameters:
  ///   - rest: what follows the eight bytes of the message: echo data, or the packet that an error quotes.
  mutating func receiveMessage(
    _ message: ICMPMessage, source: IPAddress, destination: IPAddress, rest: Slice, pool: inout SlabPool, now: Instant
  ) {
    switch message {
    case .echoRequest(let identifier, let sequence):
      guard !source.isMulticast, !source.isBroadcast, !source.isUnspecified else {
        context.counters.drop(.badAddress)
        return
      }
      context.counters.echoRequests &+= 1
      pool.retain(rest)
      let echo = Echo(
        source: source, destination: destination, identifier: identifier, sequence: sequence,
        payloadCount: rest.count)
      context.events.append(.echoRequested(echo, rest))
    case .destinationUnreachable:
      receiveError(quote: rest, pool: pool)
    default:
      context.counters.drop(.unknownProtocol)
    }
  }

  /// An application's kernel refuses what we sent. Only UDP is told: TCP learns by RST, and an ICMP error must not break
  /// a connection (RFC 5927 section 4.1).
  private mutating func receiveError(quote: Slice, pool: borrowing SlabPool) {
    let quoted = pool.withSpan(quote) { try? QuotedPacket(parsing: $0) }
    guard let quoted, let flow = flows[quoted.fiveTuple.reversed], flow.isDatagram else {
      context.counters.drop(.unknownFlow)
      return
    }
    if datagramFlows[flow.slot].verdict == .accepted { context.events.append(.datagramRejected(flow)) }
  }

  // MARK: Echo

  /// Answers a ping with the data that came back. Takes over the caller's reference.
  public mutating func sendEchoReply(_ echo: Echo, _ slice: Slice, pool: inout SlabPool, now: Instant) {
    // A ping of a group is answered from a unicast address, which only the far end knows.
    guard !echo.destination.isMulticast, !echo.destination.isBroadcast else {
      context.counters.drop(.badAddress)
      pool.release(slice)
      return
    }
    let isQueued = queueDatagram(
      OutgoingDatagram(
        source: echo.destination, destination: echo.source,
        kind: .echoReply(identifier: echo.identifier, sequence: echo.sequence), payload: slice), pool: &pool)
    if isQueued { context.counters.echoReplies &+= 1 }
  }

  /// Answers a ping with an error. The request isn't kept: the error quotes its headers as they were.
  public mutating func sendUnreachable(_ echo: Echo, _ what: Unreachable, now: Instant) {
    guard mayAnswer(echo.source, about: echo.destination, now: now) else { return }
    if context.queue(.echoUnreachable(echo, what)) { context.counters.errorsOut &+= 1 }
  }
}
