public import Crypto
public import Proxy

/// A GateManager that a host belongs to, and how each knows the other. Part of the host's state file.
public struct GateBinding: Codable, Hashable, Sendable {
  /// Where it is: host:port.
  public var address: String
  /// The one key that is accepted there.
  public var key: KeyHash
  /// The host's own certificate, from there, and its issuer's; PEM.
  public var certificate: String
  public var caCertificate: String
  /// The proxy on the way, as a URL with its password, unless the command line names another.
  public var proxy: String?

  /// Refuses a certificate that is for another key or not from that issuer.
  public init(
    to server: GateServer, proxy: String?, certificate: String, caCertificate: String, key: PrivateKey
  ) throws(CommandFailure) {
    guard case .key(let pinned) = server.pin else {
      throw CommandFailure(.software, "a binding needs a pinned key")
    }
    address = server.address.description
    self.key = pinned
    self.certificate = certificate
    self.caCertificate = caCertificate
    self.proxy = proxy
    let issued = try credentials(with: key).certificate
    let issuer: Certificate
    do throws(CryptoError) {
      issuer = try Certificate(pem: caCertificate)
    } catch {
      throw CommandFailure(error)
    }
    guard issued.isIssued(by: issuer) else {
      throw CommandFailure(.data, "the GateManager sent a certificate that its own authority didn't issue")
    }
  }

  /// What is wrong with it, in a file that somebody may have changed; `nil` if nothing is.
  ///
  /// - Parameter name: the field that holds it.
  public func problem(at name: String) -> StateFileError? {
    func problem(_ field: String, _ reason: String) -> StateFileError {
      StateFileError(field: [name, field], reason: reason)
    }
    guard HostPort(address) != nil else { return problem("address", "is no host:port of a GateManager") }
    if let proxy, (try? ProxyConfiguration(parsing: proxy)) == nil {
      return problem("proxy", "is no URL of a proxy, http://[user:password@]host:port")
    }
    guard (try? Certificate(pem: certificate)) != nil else { return problem("certificate", "is no certificate in PEM") }
    guard (try? Certificate(pem: caCertificate)) != nil else {
      return problem("caCertificate", "is no certificate in PEM")
    }
    return nil
  }

  /// Where to dial, with the key pinned.
  ///
  /// - Parameter proxy: takes the place of the one that is remembered.
  public func server(via proxy: ProxyConfiguration? = nil) throws(CommandFailure) -> GateServer {
    guard let target = HostPort(address) else {
      throw CommandFailure(.configuration, "\"\(address)\" is not host:port of a GateManager")
    }
    let remembered = try Self.proxy(self.proxy)
    return GateServer(target, via: proxy ?? remembered, pin: .key(key))
  }

  /// What the host shows of itself, to the GateManager and end to end.
  public func credentials(with key: PrivateKey) throws(CommandFailure) -> TLSContext.Credentials {
    do throws(CryptoError) {
      let certificate = try Certificate(pem: certificate)
      guard certificate.keyHash == key.keyHash else {
        throw CryptoError("certificate", .malformed, reason: "it is for another key")
      }
      return TLSContext.Credentials(certificate, key: key)
    } catch {
      throw CommandFailure(error)
    }
  }

  /// Reads a proxy's URL, where there is one.
  public static func proxy(_ url: String?) throws(CommandFailure) -> ProxyConfiguration? {
    guard let url else { return nil }
    do throws(ProxyConfiguration.ParseError) {
      return try ProxyConfiguration(parsing: url)
    } catch {
      throw CommandFailure(.usage, "--proxy: \(error)")
    }
  }

  /// Reads `HOST[:PORT]` as a person gives it; port 443 by default.
  public static func address(_ text: String) throws(CommandFailure) -> HostPort {
    guard let address = HostPort(text, defaultPort: 443) else {
      throw CommandFailure(.usage, "--gate: \"\(text)\" is not HOST:PORT")
    }
    return address
  }
}
