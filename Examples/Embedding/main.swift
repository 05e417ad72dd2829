import Adapter
import Control
import Crypto
import Foundation
import Proxy

/// What `linkmanager login` left in its directory.
struct Account: Decodable {
  struct Gate: Decodable { var address: String, key: KeyHash, certificate: String }
  var user: String, gate: Gate
}

let directory = CommandLine.arguments[1]
let account = try JSONDecoder().decode(
  Account.self, from: Data(contentsOf: URL(fileURLWithPath: directory + "/account.json")))
let credentials = TLSContext.Credentials(
  try Certificate(pem: account.gate.certificate), key: try PrivateKey(contentsOf: directory + "/key.pem"))
let server = GateServer(HostPort(account.gate.address)!, pin: .key(account.gate.key))
let siteKey = KeyHash(CommandLine.arguments[2])!  // as `sitemanager status` shows it

signal(SIGPIPE, SIG_IGN)
let gate = try GateLink(server: server, credentials: credentials, user: account.user, software: "example/1")
let adapter = try Adapter()
try await adapter.attach(
  gate.connect(to: CommandLine.arguments[3], reason: "example") { key in
    guard key == siteKey else { throw HandshakeError.wrongKey(expected: siteKey, found: key) }
  })
let stream = try await adapter.connect(to: CommandLine.arguments[3] + "/web", port: 80)
try await stream.write(Array("GET / HTTP/1.0\r\n\r\n".utf8))
while let bytes = try await stream.read() { print(String(decoding: bytes, as: UTF8.self), terminator: "") }
