import Control
import Crypto
import Kernel
import Primitives

/// A GateManager as seen from outside: where it is, how to get there, and which key it must prove.
public struct GateServer: Hashable, Sendable {
  public var address: HostPort
  public var proxy: ProxyConfiguration?
  public var pin: GatePin

  public init(_ address: HostPort, via proxy: ProxyConfiguration? = nil, pin: GatePin) {
    self.address = address
    self.proxy = proxy
    self.pin = pin
  }

  /// The key that answers at its address, proven by a handshake and then left without a word.
  ///
  /// For trust on first use: show it, ask, and pin it for all that follows.
  public static func keyHash(
    at address: HostPort, via proxy: ProxyConfiguration? = nil, until deadline: Instant, cancel: Cancellation? = nil
  ) throws(GateError) -> KeyHash {
    let server = GateServer(address, via: proxy, pin: .unknown)
    let context = try Self.context(alpn: ControlProtocol.alpn, credentials: nil)
    var stream = try server.open(context, alpn: ControlProtocol.alpn, until: deadline, cancel: cancel)
    guard let found = stream.peerKeyHash else { throw .wrongKey(expected: .unknown, found: nil) }
    stream.close()
    return found
  }

  /// What its connections have in common; worth keeping for reconnects.
  static func context(alpn: String, credentials: TLSContext.Credentials?) throws(GateError) -> TLSContext {
    do throws(CryptoError) {
      return try TLSContext(.client, credentials: credentials, peer: .required, alpn: [alpn])
    } catch {
      throw .tls(.local(error))
    }
  }

  /// Dials, does the TLS handshake and checks protocol and key: the first byte written goes to the right server.
  func open(
    _ context: TLSContext, alpn: String, until deadline: Instant, cancel: Cancellation? = nil
  ) throws(GateError) -> TLSStream {
    let socket: OwnedDescriptor
    do throws(DialError) {
      socket = try Outbound.connect(to: address, via: proxy, until: deadline, cancel: cancel)
    } catch {
      throw error == .cancelled ? .cancelled : .dial(error)
    }
    let stream: TLSStream
    do throws(GateError) {
      stream = try TLSStream.open(
        over: socket, context: context, serverName: address.isAddress ? nil : address.host, until: deadline,
        cancel: cancel)
    } catch {
      if case .tls(.peerAlert(TLSError.noApplicationProtocol, _)) = error { throw .noCommonProtocol(alpn) }
      throw error
    }
    guard let found = stream.peerKeyHash, pin.matches(found) else {
      throw .wrongKey(expected: pin, found: stream.peerKeyHash)
    }
    guard stream.alpn == alpn else { throw .wrongProtocol(stream.alpn) }
    return stream
  }
}
