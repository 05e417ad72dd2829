import Glibc
import Kernel
import Primitives

/// TCP connections that leave: to the GateManager, with a proxy between or without.
public enum Outbound {
  /// Time that one address has to take a connection. Short against an outage, so that the next attempt, with the name
  /// resolved anew, isn't long in coming.
  public static let dialTime = Interval.seconds(10)

  /// Resolves the name and tries its addresses in order, each with its share of the time that is left.
  ///
  /// - Parameters:
  ///   - target: where the connection is to end.
  ///   - proxy: is asked to connect to `target`, and resolves its name.
  ///   - cancel: ends the attempt from another thread.
  /// - Returns: a connected, non-blocking socket without Nagle's delay, with keepalive. Nothing was read from it
  ///   that belongs to `target`.
  public static func connect(
    to target: HostPort, via proxy: ProxyConfiguration? = nil, until deadline: Instant, cancel: Cancellation? = nil
  ) throws(DialError) -> OwnedDescriptor {
    let server = proxy?.server ?? target
    let endpoints = try Resolution.resolve(server, until: deadline, cancel: cancel)
    var failure: DialError?
    for (index, endpoint) in endpoints.enumerated() {
      let now = Clock.now
      guard now < deadline else { break }
      let share = now + min((deadline - now) / Int64(endpoints.count - index), dialTime)
      do throws(DialError) {
        let socket = try open(endpoint, until: share, cancel: cancel)
        if let proxy {
          try tunnel(through: socket, to: target, proxy: proxy, until: deadline, cancel: cancel)
        }
        return socket
      } catch {
        // A proxy that answered has spoken for all its addresses.
        switch error {
        case .cancelled, .proxy: throw error
        default: if error.informationRank >= failure?.informationRank ?? 0 { failure = error }
        }
      }
    }
    throw failure ?? .timedOut(server)
  }

  private static func open(
    _ endpoint: Endpoint, until deadline: Instant, cancel: Cancellation?
  ) throws(DialError) -> OwnedDescriptor {
    let socket: OwnedDescriptor
    do throws(SystemError) {
      socket = try Socket.connect(to: endpoint, retransmissionLimit: Socket.briskRetransmission)
    } catch {
      throw DialError(error, endpoint)
    }
    do throws(WaitError) {
      try socket.wait(for: .writable, until: deadline, cancel: cancel)
    } catch {
      throw DialError(error, HostPort(endpoint))
    }
    if let error = Socket.pendingError(socket) { throw DialError(error, endpoint) }
    do throws(SystemError) {
      try Socket.setNoDelay(socket)
      // A dead path is noticed by the protocol's own pings first; this is for the time before they start.
      try Socket.setKeepalive(socket, idle: 15, interval: 5, probes: 3)
    } catch {
      throw .system(error)
    }
    return socket
  }

  /// Asks the proxy for a tunnel and reads its answer to the last byte and no further.
  private static func tunnel(
    through socket: borrowing OwnedDescriptor, to target: HostPort, proxy: ProxyConfiguration,
    until deadline: Instant, cancel: Cancellation?
  ) throws(DialError) {
    var machine = HTTPConnect(to: target, credentials: proxy.credentials)
    do throws(WaitError) {
      try socket.write(all: machine.request.span, until: deadline, cancel: cancel)
    } catch {
      throw DialError(error, proxy.server)
    }
    var buffer = [UInt8](repeating: 0, count: 1024)
    while true {
      let waiting: Int
      do throws(WaitError) {
        waiting = try peek(socket, &buffer, until: deadline, cancel: cancel)
      } catch {
        if error == .ended { throw .proxy(proxy.server, .closed) }
        throw DialError(error, proxy.server)
      }
      let answer: (consumed: Int, progress: HTTPConnect.Progress)
      do throws(HTTPConnectError) {
        answer = try machine.receive(buffer.span.extracting(0..<waiting))
      } catch {
        throw .proxy(proxy.server, error)
      }
      do throws(WaitError) {
        var bytes = buffer.mutableSpan
        try socket.read(exactly: answer.consumed, into: &bytes, until: deadline, cancel: cancel)
      } catch {
        throw DialError(error, proxy.server)
      }
      if answer.progress == .established { return }
    }
  }

  private static func peek(
    _ socket: borrowing OwnedDescriptor, _ buffer: inout [UInt8], until deadline: Instant, cancel: Cancellation?
  ) throws(WaitError) -> Int {
    while true {
      let transfer: Transfer
      do throws(SystemError) {
        var bytes = buffer.mutableSpan
        transfer = try socket.peek(into: &bytes)
      } catch {
        throw .system(error)
      }
      switch transfer {
      case .moved(let count): return count
      case .ended: throw .ended
      case .wouldBlock: try socket.wait(for: .readable, until: deadline, cancel: cancel)
      }
    }
  }
}

extension DialError {
  /// A failed attempt in terms of what a user can act on.
  init(_ error: SystemError, _ endpoint: Endpoint) {
    switch error.code {
    case ECONNREFUSED: self = .refused(endpoint)
    case ETIMEDOUT: self = .timedOut(HostPort(endpoint))
    case EHOSTUNREACH, ENETUNREACH, EADDRNOTAVAIL, ENETDOWN, EHOSTDOWN, EACCES, EPERM, ECONNRESET:
      self = .unreachable(endpoint, error)
    default: self = .system(error)
    }
  }

  init(_ error: WaitError, _ target: HostPort) {
    switch error {
    case .timedOut: self = .timedOut(target)
    case .cancelled: self = .cancelled
    case .ended: self = .system(SystemError(call: "read", subject: target.description, code: ECONNRESET))
    case .system(let error): self = .system(error)
    }
  }
}
