import Primitives

/// The IPv4 addresses of some networks, one after the other. Bounded.
struct AddressSweep {
  /// Addresses of a sweep at most: a /20, which takes 20 s.
  static let limit = 4096

  private let networks: [IPPrefix]
  private let except: Set<IPAddress>
  private var index = 0
  private var offset: UInt128 = 0
  /// How many are still to come, and how many are beyond the bound.
  private(set) var remaining: Int
  let omitted: Int

  init(_ networks: [IPPrefix], except: [IPAddress]) {
    // A network within another one is asked once.
    var distinct: [IPPrefix] = []
    for network in networks.sorted(by: { $0.length < $1.length })
    where network.address.family == .v4 && !distinct.contains(where: { $0.contains(network.address) }) {
      distinct.append(network)
    }
    self.networks = distinct
    self.except = Set(except)
    let total = distinct.reduce(0) { $0 + Int(clamping: $1.lastOffset) + 1 }
    remaining = min(total, Self.limit)
    omitted = total - remaining
  }

  mutating func next() -> IPAddress? {
    while remaining > 0, index < networks.count {
      let network = networks[index]
      guard let address = network.address(at: offset) else {
        index += 1
        offset = 0
        continue
      }
      // A network's own name and its broadcast address are no hosts (RFC 1122 section 3.2.1.3).
      let isEdge = network.length < 31 && (offset == 0 || offset == network.lastOffset)
      offset += 1
      remaining -= 1
      if !isEdge, !except.contains(address) { return address }
    }
    remaining = 0
    return nil
  }
}
