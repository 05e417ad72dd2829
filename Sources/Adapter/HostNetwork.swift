import Primitives
import Tun

/// A network that this host is in or has a route to, where the adapter takes its aliases from as well.
public struct HostNetwork: Hashable, Sendable, CustomStringConvertible {
  public let prefix: IPPrefix
  /// The host's own address in it; `nil` for a route.
  public let address: IPAddress?
  /// The interface's name.
  public let link: String

  public init(_ prefix: IPPrefix, address: IPAddress? = nil, link: String) {
    self.prefix = prefix
    self.address = address
    self.link = link
  }

  public var description: String {
    guard let address else { return "a route to \(prefix) by \(link)" }
    return "the address \(address)/\(prefix.length) on \(link)"
  }
}

/// An agent that got another alias, since a network of this host has the one that it had.
public struct AliasMove: Hashable, Sendable, CustomStringConvertible {
  /// `site/agent`
  public let agent: String
  public let from: IPPrefix
  /// `nil` where the pool has no other place.
  public let to: IPPrefix?

  public var description: String {
    "\(agent) had \(from.written), and has \(to.map { $0.written } ?? "no address of that family") now"
  }
}

extension IPPrefix {
  /// A single address without its length.
  fileprivate var written: String { length == address.bitWidth ? "\(address)" : "\(self)" }
}

extension AliasPool {
  /// The host's networks that overlap the pool.
  ///
  /// An address counts with all of its network. A route counts if it is for the pool or a part of it: then packets to
  /// aliases there would take it. Of a route to more than the pool, such as a default route, the pool is an exception.
  /// - Parameter own: the index of the adapter's own link.
  func hostNetworks(except own: Int?) throws(TunError) -> [HostNetwork] {
    let routes = try RouteSocket()
    let names = Dictionary(try routes.links().map { ($0.index, $0.name) }, uniquingKeysWith: { first, _ in first })
    var found: [HostNetwork] = []
    for address in try routes.addresses() where address.link != own {
      guard let prefix = address.prefix, pool(of: prefix).overlaps(prefix) else { continue }
      found.append(HostNetwork(prefix, address: address.address, link: names[address.link] ?? "\(address.link)"))
    }
    for route in try routes.routes() where route.link != own {
      let (prefix, pool) = (route.destination, pool(of: route.destination))
      guard prefix.length >= pool.length, pool.overlaps(prefix), !found.contains(where: { $0.prefix == prefix }) else {
        continue
      }
      found.append(HostNetwork(prefix, link: names[route.link] ?? "\(route.link)"))
    }
    return found
  }

  /// The first network that the pool can't be used beside: one that has the adapter's own address in it, or all of it.
  /// From any other, aliases keep away.
  func clash(with networks: [HostNetwork]) -> AdapterError? {
    for network in networks {
      let pool = pool(of: network.prefix)
      let own = network.prefix.address.family == .v4 ? own.v4 : own.v6
      if network.prefix.length <= pool.length || network.prefix.contains(own) { return .aliasClash(pool, network) }
    }
    return nil
  }

  /// Those that leave room elsewhere in the pool.
  func avoidable(_ networks: [HostNetwork]) -> [IPPrefix] {
    networks.map(\.prefix).filter { $0.length > pool(of: $0).length }
  }

  private func pool(of prefix: IPPrefix) -> IPPrefix { prefix.address.family == .v4 ? v4 : v6 }
}

extension AdapterCore {
  /// Keeps aliases out of these networks from now on. Agents that have one there get another: what is sent to the old
  /// one no longer comes here, so that its flows are cut.
  package mutating func avoid(_ networks: [IPPrefix], now: Instant) -> [AliasMove] {
    let moves = table.avoid(networks)
    for id in bindings.ids {
      if case .local = bindings[id].end { continue }
      let destination = bindings[id].destination.address
      guard moves.contains(where: { $0.from.contains(destination) }) else { continue }
      cut(id, .internalError, .failed(.link), now: now)
    }
    return moves
  }
}
