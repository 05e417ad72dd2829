import Access
import Control
import Crypto
import Glibc

// Changes a store until it is killed, and says on standard output what it was told is kept. For `StoreKillTests`.
//
//     StoreWriter STORE KEY FIRST

setvbuf(stdout, nil, _IONBF, 0)
let arguments = CommandLine.arguments
guard arguments.count == 4, let first = Int(arguments[3]) else { exit(64) }
let key = try PrivateKey(contentsOf: arguments[2])
let store = try AccessStore(path: arguments[1], key: key)
let operations = Operations(store: store, gateKey: key.keyHash)
print("open")
var number = first
while true {
  let name = "site-\(number)"
  _ = try operations.perform(.addSite(name, .root, hours: 1), by: .host, time: Int64(number) * 1_000_000)
  print("added \(name)")
  if number % 3 == 0 {
    _ = try operations.perform(.removeSite(name), by: .host, time: Int64(number) * 1_000_000)
    print("removed \(name)")
  }
  number += 1
}
