import Adapter
import Control
import Framing
import Kernel
import Primitives
import Service

/// A conversation with a site about the devices of one of its interfaces.
struct DiscoveryStream {
  /// Devices that are taken from a site; it finds no more itself.
  static let deviceLimit = 4096

  private let stream: LocalStream
  private var decoder = DiscoveryDecoder()

  /// - Parameter agent: `SITE/AGENT`.
  init(to agent: String, over adapter: Adapter) async throws(ControlMessage.Failure) {
    do {
      stream = try await adapter.connect(to: .discovery, of: agent)
    } catch {
      throw Self.failure(error)
    }
  }

  /// Searches until the site says that it is over.
  mutating func discover(
    _ wanted: DiscoveryMessage.Discover
  ) async throws(ControlMessage.Failure) -> (devices: [DiscoveryMessage.Device], done: DiscoveryMessage.Done) {
    try await ask(.discover(wanted))
    let deadline =
      Clock.now + .seconds(Int64(min(wanted.seconds, DiscoveryMessage.secondsLimit))) + LocalStream.patience
    var devices: [String: DiscoveryMessage.Device] = [:]
    while true {
      switch try await nextMessage(until: deadline) {
      case .device(let device):
        // What comes later knows more.
        if devices[device.mac] != nil || devices.count < Self.deviceLimit { devices[device.mac] = device }
      case .done(let done): return (devices.values.sorted { $0.mac < $1.mac }, done)
      case .failure(let failure): throw failure
      case .discover, .assign, .assigned, .unknown: break
      }
    }
  }

  /// Gives a device a name or an address.
  mutating func assign(_ wanted: DiscoveryMessage.Assign) async throws(ControlMessage.Failure) {
    try await ask(.assign(wanted))
    let deadline = Clock.now + LocalStream.patience
    while true {
      switch try await nextMessage(until: deadline) {
      case .assigned: return
      case .failure(let failure): throw failure
      case .discover, .assign, .device, .done, .unknown: break
      }
    }
  }

  /// Ends the conversation in order.
  consuming func end() async {
    stream.finish()
    let stream = stream
    try? await stream.within(until: Clock.now + LocalStream.patience) {
      while try await stream.read() != nil {}
    }
  }

  private func ask(_ message: DiscoveryMessage) async throws(ControlMessage.Failure) {
    do {
      try await stream.write(try message.encoded())
    } catch {
      throw Self.failure(error)
    }
  }

  private mutating func nextMessage(
    until deadline: Instant
  ) async throws(ControlMessage.Failure) -> DiscoveryMessage {
    let stream = stream
    do {
      while true {
        if let message = try decoder.next() { return message }
        guard let bytes = try await stream.within(until: deadline, { try await stream.read() }) else {
          throw ControlMessage.Failure(.internalError, "the site ended the search before it was over")
        }
        decoder.receive(bytes)
      }
    } catch {
      throw Self.failure(error)
    }
  }

  private static func failure(_ error: any Error) -> ControlMessage.Failure {
    switch error {
    case let failure as ControlMessage.Failure: failure
    case let late as CommandFailure: ControlMessage.Failure(.busy, late.description)
    case LocalStreamError.refused(let refusal) where refusal.reason == .tooMany:
      ControlMessage.Failure(.busy, "\(refusal)")
    case LocalStreamError.refused(let refusal) where refusal.reason.rawValue <= 5:
      ControlMessage.Failure(.notPermitted, "\(refusal)")
    case LocalStreamError.refused(let refusal): ControlMessage.Failure(.internalError, "\(refusal)")
    case LocalStreamError.reset(.revoked):
      ControlMessage.Failure(.notPermitted, "the site has withdrawn the permission")
    case LocalStreamError.reset, LocalStreamError.stopped:
      ControlMessage.Failure(.busy, "the connection to the site was lost")
    default: ControlMessage.Failure(.internalError, "\(error)")
    }
  }
}
