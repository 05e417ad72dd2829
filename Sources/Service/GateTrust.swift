public import Crypto
public import Primitives
public import Proxy

/// How a host comes to trust a GateManager's key before it tells it a secret.
public enum GateTrust {
  /// Asks the server that answers at `address` to prove its key, and lets `judge` decide.
  ///
  /// - Parameter judge: throws to refuse the key.
  /// - Returns: the server with that key pinned, for all that follows.
  public static func establish(
    _ address: HostPort, via proxy: ProxyConfiguration?, until deadline: Instant,
    judge: (KeyHash) throws(CommandFailure) -> Void
  ) throws(CommandFailure) -> GateServer {
    let found: KeyHash
    do throws(GateError) {
      found = try GateServer.keyHash(at: address, via: proxy, until: deadline)
    } catch {
      throw CommandFailure(error)
    }
    try judge(found)
    return GateServer(address, via: proxy, pin: .key(found))
  }
}
