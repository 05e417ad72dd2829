import Adapter
import Control
import Crypto
import Foundation
import Kernel
import Primitives
import Proxy
import Synchronization

/// Test support: thousands of LinkManagers and SiteManagers in one process, each with a control connection as the hosts
/// have it, a thread and an identity of its own.
///
///     Fleet GATE[,GATE...] CODES USERS PASSWORD PCS ECHO-PORT [DIRECTORY]
///
/// CODES is a file of site names and enrolment codes, USERS one of user names, who log in from PCS PCs each; both may be
/// empty. Then it obeys lines of its input, and answers each with a line of JSON: `report`; `mark`, what is reported
/// from now on is about what happens from now on; `traffic SITE LINKS FLOWS PORT BYTES`, that many LinkManagers open
/// that many streams to the agents of a site, which echo, and hold them until `silence`; `sessions COUNT`, users'
/// LinkManagers have that many sessions, each with a site of its own, until `silence`; `stop`, all go; `start`, all are
/// there again.
///
/// A site of the fleet has one agent, an echo service on 127.0.0.1 at ECHO-PORT. Where GateManager has several addresses,
/// members use them in turn, so that they may come from several as well.
///
/// With DIRECTORY, that of a GateManager which doesn't run yet, members are registered there instead of enrolling and
/// logging in, CODES has names only, and nothing connects before `start`, and users not before `sessions`.
signal(SIGPIPE, SIG_IGN)
DescriptorLimit.raise()
let arguments = CommandLine.arguments
let gates = arguments[1].split(separator: ",").map { HostPort(String($0))! }
let (password, pcs) = (arguments[4], Int(arguments[5])!)
let echo = Endpoint(IPAddress(127, 0, 0, 1), UInt16(arguments[6])!)

func lines(_ path: String) throws -> [[String]] {
  try String(contentsOfFile: path, encoding: .utf8).split(separator: "\n").map {
    $0.split(separator: " ").map(String.init)
  }
}

/// Does something for each element on a few threads, for the waits are long and the work is short.
func concurrently<Element: Sendable, Result: Sendable>(
  _ elements: [Element], _ body: @escaping @Sendable (Element) throws -> Result
) throws -> [Result] {
  let results = Mutex<[(Int, Result)]>([])
  let next = Atomic(0)
  let failure = Mutex<(any Error)?>(nil)
  let threads = try (0..<8).map { _ in
    try Kernel.Thread(name: "worker") {
      while true {
        let index = next.add(1, ordering: .relaxed).oldValue
        guard index < elements.count, failure.withLock({ $0 == nil }) else { return }
        do {
          let result = try body(elements[index])
          results.withLock { $0.append((index, result)) }
        } catch {
          failure.withLock { $0 = error }
        }
      }
    }
  }
  for thread in threads { thread.join() }
  if let failure = failure.withLock({ $0 }) { throw failure }
  return results.withLock { $0.sorted { $0.0 < $1.0 }.map(\.1) }
}

struct Joined: Encodable {
  var sites: Int
  var links: Int
  var enrolSeconds: Double
  var loginSeconds: Double
}

let register = try arguments.count > 7 ? GateRegister(arguments[7]) : nil
let home = try register.map { Home(gates, key: $0.gateKey) } ?? Home(gates)
let tally = Tally()
let names = try lines(arguments[2])
let users = try lines(arguments[3]).map { $0[0] }
let pcNames = (0..<pcs).map { "pc-\($0)" }
let start = Clock.now
let identities = try concurrently(Array(names.enumerated())) { index, name in
  try register?.site(name[0], at: home.server(of: index)) ?? home.enroll(name[0], code: name[1])
}
let enrolled = Clock.now
let logins: [Login]
if let register {
  let hash = try PasswordHash(hashing: password)
  logins = try concurrently(users) { try register.user($0, password: hash, pcs: pcNames) }.flatMap { $0 }
} else {
  logins = try concurrently(users.flatMap { user in pcNames.map { (user, $0) } }) { user, pc in
    Login(user: user, credentials: try home.login(user, password: password, pc: pc))
  }
}
printJSON(
  Joined(
    sites: identities.count, links: logins.count, enrolSeconds: (enrolled - start).seconds,
    loginSeconds: (Clock.now - enrolled).seconds))

let sites = identities.map { FleetSite($0, echo: echo, tally: tally) }
var links: [ControlClient] = []

/// Connects all of them.
@MainActor func join() throws {
  for (index, site) in sites.enumerated() { try site.start(index, name: names[index][0]) }
  guard register == nil else { return }
  for (index, login) in logins.enumerated() {
    let number = sites.count + index
    links.append(
      try ControlClient(
        to: home.server, credentials: login.credentials,
        hello: .init(role: .linkManager, name: login.user, software: "fleet/1")
      ) { event in
        switch event {
        case .connected: tally.connected(number)
        case .disconnected(let error, _): tally.disconnected(number, error.kind)
        case .message: break
        }
      })
  }
}

if register == nil { try join() }
var traffic: [Traffic] = []
while let line = readLine() {
  let words = line.split(separator: " ").map(String.init)
  switch words.first {
  case "mark":
    tally.setMark()
    printJSON(tally.report)
  case "report": printJSON(tally.report)
  case "traffic":
    let made = Traffic(home, site: words[1], port: UInt16(words[4])!, bytes: Int(words[5])!)
    traffic.append(made)
    for login in logins.prefix(Int(words[2])!) { await made.join(login) }
    await made.exchange(Int(words[3])!)
    printJSON(made.report)
  case "sessions":
    let made = Traffic(home, site: "", port: echo.port, bytes: 0)
    traffic.append(made)
    await made.join(logins, sites: names.prefix(Int(words[1])!).map { $0[0] })
    printJSON(made.report)
  case "silence":
    for made in traffic { made.stop() }
    traffic = []
    printJSON(tally.report)
  case "stop":
    for link in links { link.stop() }
    for site in sites { site.stop() }
    links = []
    tally.left()
    printJSON(tally.report)
  case "start":
    try join()
    printJSON(tally.report)
  default: break
  }
}
