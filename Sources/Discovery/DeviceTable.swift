public import Packet
public import Primitives

/// The devices of a network by their Ethernet address, put together from what each method says. Bounded.
public struct DeviceTable: Sendable {
  /// Devices at most: some large flat networks. Further ones are counted.
  public static let limit = 4096

  private var devices: [MACAddress: DiscoveredDevice] = [:]
  private var owners: [IPAddress: MACAddress] = [:]
  /// Devices that are new or changed since they were taken, in order.
  private var changed: [MACAddress] = []
  private var isChanged: Set<MACAddress> = []
  /// Networks of the interface.
  private let networks: [IPPrefix]
  private let own: MACAddress
  /// Frames of devices for which there was no room.
  public private(set) var overflow = 0

  /// - Parameters:
  ///   - networks: that belong to the interface; a device elsewhere is foreign.
  ///   - own: the interface itself, which is no device.
  public init(networks: [IPPrefix], own: MACAddress) {
    self.networks = networks
    self.own = own
  }

  public var count: Int { devices.count }

  /// Addresses whose owner is known.
  var ownedAddresses: Int { owners.count }

  public subscript(mac: MACAddress) -> DiscoveredDevice? { devices[mac] }

  /// The next device that is new or has changed.
  public mutating func nextChange() -> DiscoveredDevice? {
    guard !changed.isEmpty else { return nil }
    let mac = changed.removeFirst()
    isChanged.remove(mac)
    return devices[mac]
  }

  mutating func update(
    _ mac: MACAddress, _ method: DiscoveryMethod, _ change: (inout DiscoveredDevice) -> Void
  ) {
    guard mac != own, !mac.isMulticast, mac.value != 0 else { return }
    let before = devices[mac]
    guard before != nil || devices.count < Self.limit else {
      overflow += 1
      return
    }
    var device = before ?? DiscoveredDevice(mac)
    device.methods.insert(method)
    change(&device)
    judge(&device)
    guard device != before else { return }
    // Who has an address is known for addresses that devices have now: no more than there is room for devices.
    for address in before?.addresses ?? []
    where !device.addresses.contains(address) && owners[address] == mac {
      owners[address] = nil
    }
    devices[mac] = device
    note(mac)
  }

  private mutating func note(_ mac: MACAddress) {
    if isChanged.insert(mac).inserted { changed.append(mac) }
  }

  private mutating func judge(_ device: inout DiscoveredDevice) {
    let v4 = device.addresses.filter { $0.family == .v4 }
    set(&device, .noAddress, device.hasNone && v4.isEmpty)
    set(
      &device, .foreignSubnet,
      !v4.isEmpty && !networks.isEmpty
        && !v4.contains { address in networks.contains { $0.contains(address) } })
    for address in v4 {
      guard let other = owners[address], other != device.mac, devices[other]?.addresses.contains(address) == true
      else {
        owners[address] = device.mac
        continue
      }
      device.problems.insert(.addressConflict)
      if devices[other]?.problems.insert(.addressConflict).inserted == true { note(other) }
    }
  }

  private func set(_ device: inout DiscoveredDevice, _ problem: DiscoveredDevice.Problem, _ holds: Bool) {
    if holds { device.problems.insert(problem) } else { device.problems.remove(problem) }
  }
}

// MARK: What each method tells

extension DeviceTable {
  mutating func take(_ message: DCPMessage, from mac: MACAddress) {
    update(mac, .dcp) { device in
      for block in message.blocks {
        switch block {
        case .ip(let info, let address, let mask, let gateway):
          // What a device says of itself now holds, and what it had before doesn't.
          device.addresses.removeAll { $0.family == .v4 }
          device.hasNone = address.isUnspecified
          device.add(address)
          device.mask = address.isUnspecified ? nil : mask
          device.gateway = address.isUnspecified || gateway.isUnspecified || gateway == address ? nil : gateway
          if info & DCPBlock.conflict != 0 { device.problems.insert(.addressConflict) }
        case .nameOfStation(let name): device.setName(name, rank: 5)
        case .stationType(let type): device.setType(type, rank: 4)
        case .role(let role):
          device.setType(role & 2 != 0 ? "PROFINET controller" : "PROFINET device", rank: 2)
        case .alias(let alias): device.setName(alias, rank: 1)
        case .deviceID, .result, .other: break
        }
      }
    }
  }

  mutating func take(_ identity: CIPIdentity, from mac: MACAddress, at address: IPAddress) {
    update(mac, .enip) { device in
      device.add(address)
      device.add(identity.address)
      device.setName(identity.productName, rank: 2)
      device.setVendor(identity.vendorName, rank: 2)
      device.setType(
        "\(identity.deviceTypeName), revision \(identity.revision.0).\(identity.revision.1), serial "
          + String(identity.serial, radix: 16), rank: 3)
    }
  }

  mutating func take(_ message: SSDPMessage, from mac: MACAddress, at address: IPAddress) {
    update(mac, .ssdp) { device in
      device.add(address)
      device.setType(message.server ?? message.target, rank: 1)
      if let location = message.location { device.location = location }
    }
  }

  mutating func take(_ message: ARPMessage) {
    update(message.sender, .arp) { $0.add(message.senderAddress) }
  }

  mutating func take(_ message: LLDPMessage, from mac: MACAddress) {
    // The frame's own source is the port's address; the device's stands within.
    update(message.chassis ?? mac, .lldp) { device in
      device.add(message.managementAddress)
      device.setName(message.systemName ?? message.chassisName, rank: message.isProfinet ? 4 : 3)
      device.setType(message.systemDescription, rank: 3)
    }
  }
}
