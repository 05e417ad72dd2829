// The stack on a TUN device, without crypto and without sockets: what comes to port 7100 is dropped, from port 7101 comes
// as much as the application takes. `make bench-stack` sets it beside others; it runs until it is killed.
//
// usage: StackServer DEVICE

import Glibc
import Tun

guard CommandLine.arguments.count == 2 else {
  print("usage: StackServer DEVICE")
  exit(64)
}
do {
  var server = try StackServer(device: CommandLine.arguments[1])
  try server.run()
} catch {
  print("\(error)")
  exit(1)
}
