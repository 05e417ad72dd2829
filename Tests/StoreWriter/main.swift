import Access
import Control
import Crypto
import Glibc

// Changes a store until it is killed, and says on standard output what it was told is kept. For `StoreKillTests`.
//
//     StoreWriter STORE KEY FIRST

/// Unbuffered: what was said before the end is heard.
func say(_ line: String) {
  let bytes = Array((line + "\n").utf8)
  _ = unsafe bytes.withUnsafeBytes { unsafe write(STDOUT_FILENO, $0.baseAddress, $0.count) }
}

let arguments = CommandLine.arguments
guard arguments.count == 4, let first = Int(arguments[3]) else { exit(64) }
let key = try PrivateKey(contentsOf: arguments[2])
let store = try AccessStore(path: arguments[1], key: key)
let operations = Operations(store: store, gateKey: key.keyHash)
say("open")
var number = first
while true {
  let name = "site-\(number)"
  _ = try operations.perform(.addSite(name, .root, hours: 1), by: .host, time: Int64(number) * 1_000_000)
  say("added \(name)")
  if number % 3 == 0 {
    _ = try operations.perform(.removeSite(name), by: .host, time: Int64(number) * 1_000_000)
    say("removed \(name)")
  }
  number += 1
}
