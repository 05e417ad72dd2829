import FuzzDriver
import Packet
import Primitives

@testable import Discovery

/// What devices say of themselves, by every method: parsers on their own and in a run. Nothing that is kept grows beyond
/// its bound, texts are within theirs, and what a run sends are frames.
@main enum DiscoveryTarget: FuzzTarget {
  static func run(_ bytes: UnsafeBufferPointer<UInt8>) {
    var script = Script(bytes)
    if script.flag() { parse(script.rest()) } else { search(&script) }
  }

  // MARK: Messages

  private static func parse(_ bytes: UnsafeBufferPointer<UInt8>) {
    let span = bytes.span
    if let message = try? DCPMessage(parsing: span) {
      check(message.blocks.count <= DCPMessage.blockLimit, "blocks within their bound")
      for case .nameOfStation(let name) in message.blocks { checkText(name, StationName.sizeLimit) }
      for case .stationType(let text) in message.blocks { checkText(text, DiscoveredDevice.textLimit) }
      for case .alias(let text) in message.blocks { checkText(text, DiscoveredDevice.textLimit) }
    }
    if let message = try? LLDPMessage(parsing: span) {
      for text in [message.chassisName, message.portDescription, message.systemName, message.systemDescription] {
        if let text { checkText(text, DiscoveredDevice.textLimit) }
      }
    }
    if let message = try? DNSMessage(parsing: span) {
      check(message.records.count <= DNSMessage.recordLimit, "records within their bound")
      for record in message.records { checkName(record.name) }
    }
    if let message = try? SSDPMessage(parsing: span) {
      for text in [message.target, message.uniqueName, message.server, message.location] {
        if let text { checkText(text, DiscoveredDevice.textLimit) }
      }
    }
    if let identity = try? CIPIdentity(parsing: span) { checkText(identity.productName, DiscoveredDevice.textLimit) }
    if let message = try? ARPMessage(parsing: span) { check([1, 2].contains(message.operation), "asks or answers") }
    if let datagram = try? UDPFrame(parsing: span) {
      check(datagram.payload.upperBound <= bytes.count, "payload within the frame")
    }
    if bytes.count <= 300, let name = StationName(String(decoding: bytes, as: UTF8.self)) {
      check(StationName(name.description) == name, "a name is read as it is written")
    }
  }

  /// Bytes that aren't UTF-8 are replaced, by three for one at most.
  private static func checkText(_ text: String, _ limit: Int) {
    check(text.utf8.count <= 3 * limit, "a text within its bound")
  }

  private static func checkName(_ name: DNSName) {
    check(name.labels.count <= 127, "labels within their bound")
    // Pointers lead backwards, so that reading ends; what is written can be read again.
    let bytes = name.bytes
    guard bytes.count <= DNSName.sizeLimit else { return }
    var offset = 0
    if let again = try? DNSName(parsing: bytes.span, at: &offset) {
      check(offset == bytes.count, "all of it is the name")
      check(again.labels.count <= name.labels.count, "as many labels")
    }
  }

  // MARK: A run

  private static let own = MACAddress(0x0200_0000_0001)

  private static func search(_ script: inout Script) {
    var random = SeededRandom(seed: 1)
    var now = Instant(nanoseconds: 1_000_000_000)
    let configuration = DiscoveryRun.Configuration(
      methods: Set(DiscoveryMethod.allCases), mac: own,
      addresses: [(IPAddress(10, 0, 0, 1), IPPrefix(IPAddress(10, 0, 0, 0), length: 28)!)], port: 4000,
      duration: .seconds(5))
    var run = DiscoveryRun(configuration, now: now, random: &random)
    var frames = 0
    while !script.isAtEnd, frames < 64 {
      frames += 1
      run.receive(frame(&script).span, now: now)
      now = now + .milliseconds(Int64(script.byte()) * 4)
      run.handleTimeout(now: now)
      while let sent = run.nextTransmit(now: now) {
        check((60...1514).contains(sent.count), "a frame's size")
        check((try? EthernetHeader(parsing: sent.span))?.source == own, "a frame of this host")
      }
      while let device = run.nextDevice() {
        check(device.addresses.count <= DiscoveredDevice.addressLimit, "addresses within their bound")
        check(!device.mac.isMulticast && device.mac != own && device.mac.value != 0, "a device's own address")
        check(!device.methods.isEmpty, "somehow it was found")
        for text in [device.name, device.vendor, device.type, device.location] {
          if let text { checkText(text, DiscoveredDevice.textLimit + 64) }
        }
      }
      check(run.devices.count <= min(DeviceTable.limit, frames * 8), "no more devices than frames told of")
    }
  }

  private static func frame(_ script: inout Script) -> [UInt8] {
    let kind = script.choice(7)
    let device = MACAddress(0x000E_8C00_0000 | UInt64(script.choice(6)))
    let payload = [UInt8](script.take(1 + Int(script.byte())))
    let types: [EtherType] = [.profinet, .arp, .lldp]
    guard kind >= 3 else {
      var frame = [UInt8](repeating: 0, count: 14)
      var span = frame.mutableSpan
      EthernetHeader(destination: own, source: device, type: types[kind]).write(into: &span)
      return frame + payload
    }
    let ports: [UInt16] = [CIPIdentity.port, DNSMessage.port, 1900, 5000]
    return UDPFrame.bytes(
      to: Endpoint(IPAddress(10, 0, 0, 1), 4000),
      from: Endpoint(IPAddress(10, 0, 0, 2), ports[kind - 3]), device, payload: payload)
  }

  static var seeds: [[UInt8]] {
    let dcp = Array(DCPRequest.identifyAll(from: own, xid: 1, delay: 1).dropFirst(14))
    let hello: [UInt8] =
      [0xFE, 0xFC, 6, 0, 0, 0, 0, 1, 0, 0, 0, 28, 2, 2, 0, 6, 0, 0, 112, 108, 99, 49, 1, 2, 0, 14, 0, 1]
      + [10, 0, 0, 9, 255, 255, 255, 0, 10, 0, 0, 1]
    let lldp: [UInt8] = [2, 7, 4, 0, 14, 140, 0, 0, 1, 4, 3, 7, 112, 49, 6, 2, 0, 20, 10, 3, 112, 108, 99, 0, 0]
    let query = DNSMessage.query(DNSMessage.services, [DNSMessage.RecordType.ptr], id: 1)
    let answer: [UInt8] =
      [0, 1, 0x84, 0, 0, 0, 0, 2, 0, 0, 0, 0] + DNSMessage.services.bytes + [0, 12, 0, 1, 0, 0, 0, 9, 0, 13]
      + [5, 95, 104, 116, 116, 112, 4, 95, 116, 99, 112, 0xC0, 35] + [
        0xC0, 12, 0, 1, 0, 1, 0, 0, 0, 9, 0, 4, 10, 0, 0, 9,
      ]
    let ssdp = Array(
      "HTTP/1.1 200 OK\r\nST: upnp:rootdevice\r\nSERVER: x/1 UPnP/1.0\r\nLOCATION: http://10.0.0.9/\r\n\r\n".utf8)
    let arp = Array(
      ARPMessage.request(for: IPAddress(10, 0, 0, 2), from: own, senderAddress: IPAddress(10, 0, 0, 1)).dropFirst(14))
    let messages = [dcp, hello, lldp, query, answer, ssdp, arp, CIPIdentity.request(delay: 1, context: 7)]
    var seeds = messages.map { [1] + $0 } + [[1] + Array("plc-1.line-2".utf8)]
    for (kind, message) in [(0, hello), (1, arp), (2, lldp), (4, answer), (5, ssdp)] as [(UInt8, [UInt8])] {
      let step = [kind, 1, UInt8(min(255, message.count - 1))] + message.prefix(256) + [9]
      seeds.append([0] + step + step)
    }
    return seeds
  }
}
