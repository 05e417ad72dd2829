import Kernel
import Primitives
import Synchronization

/// A name being resolved on a thread of its own, as getaddrinfo(3) can be neither interrupted nor timed.
final class Resolution: Sendable {
  private enum Outcome: Sendable {
    case pending
    case found([Endpoint])
    case failed(ResolveError)
  }

  private let outcome = Mutex(Outcome.pending)
  private let done: Wakeup

  private init() throws(SystemError) {
    done = try Wakeup()
  }

  /// Addresses in the resolver's order. An abandoned thread ends when the resolver gives up.
  static func resolve(
    _ target: HostPort, until deadline: Instant, cancel: Cancellation?
  ) throws(DialError) -> [Endpoint] {
    if let address = IPAddress(target.host) { return [Endpoint(address, target.port)] }
    let resolution: Resolution
    do throws(SystemError) {
      resolution = try Resolution()
      _ = try Thread(name: "resolve") { resolution.run(target) }
    } catch {
      throw .system(error)
    }
    do throws(WaitError) {
      try resolution.done.descriptor.wait(for: .readable, until: deadline, cancel: cancel)
    } catch {
      throw DialError(error, target)
    }
    switch resolution.outcome.withLock({ $0 }) {
    case .found(let endpoints) where !endpoints.isEmpty: return endpoints
    case .failed(let error): throw .resolve(error)
    case .found, .pending: throw .resolve(ResolveError(host: target.host, message: "no usable address"))
    }
  }

  private func run(_ target: HostPort) {
    let result: Outcome
    do throws(ResolveError) {
      result = .found(try Socket.resolve(target.host, port: target.port))
    } catch {
      result = .failed(error)
    }
    outcome.withLock { $0 = result }
    done.signal()
  }
}
