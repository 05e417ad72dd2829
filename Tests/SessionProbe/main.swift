import Adapter
import Control
import Crypto
import Foundation
import Framing
import Proxy

/// Test support: connects to a site as `linkmanager` would, and shows the session's secrets, so that a test can look for
/// them where they must not be. Holds the session, with some payload through it, until its input ends.
///
/// Arguments: the LinkManager's directory, the site, and an agent of it with a web server on port 8000.
struct Account: Decodable {
  struct Gate: Decodable { var address: String, key: KeyHash, certificate: String }
  var user: String, gate: Gate
}

let (directory, site, agent) = (CommandLine.arguments[1], CommandLine.arguments[2], CommandLine.arguments[3])
let account = try JSONDecoder().decode(
  Account.self, from: Data(contentsOf: URL(fileURLWithPath: directory + "/account.json")))
let credentials = TLSContext.Credentials(
  try Certificate(pem: account.gate.certificate), key: try PrivateKey(contentsOf: directory + "/key.pem"))
guard let address = HostPort(account.gate.address) else { fatalError("the account has no address") }
let gate = try GateLink(
  server: GateServer(address, pin: .key(account.gate.key)), credentials: credentials, user: account.user,
  software: "probe/1")
let adapter = try Adapter()

func connect() async throws -> [String] {
  let session = try await gate.connect(to: site, reason: "probe") { _ in }
  let secrets = [session.secrets.send, session.secrets.receive].map { secret in
    secret.withSpan { bytes in Hex.encode((0..<bytes.count).map { bytes[$0] }) }
  }
  _ = try await adapter.attach(session)
  return secrets
}

let secrets = try await connect()
let stream = try await adapter.connect(to: "\(site)/\(agent)", port: 8000)
try await stream.write(Array("GET / HTTP/1.0\r\n\r\n".utf8))
var received = 0
while let bytes = try await stream.read() { received += bytes.count }
guard received > 0 else { fatalError("nothing came through the session") }
print(secrets.joined(separator: " "))
fflush(nil)
while readLine() != nil {}
