internal import Primitives
public import Tun

/// A capture as a command line or a LinkManager asks for it.
public struct CaptureRequest: Sendable {
  /// What a service says of a filter that it can't use.
  public static let badFilter = "badFilter"

  public var configuration: CaptureConfiguration

  /// Reads what `CaptureOptions` wrote, and `agent`. Numbers that aren't are passed over: the command line has checked
  /// them, and bounds are kept in any case.
  public init(_ arguments: [String: String]) {
    configuration = CaptureConfiguration()
    configuration.filter = arguments["filter"] ?? ""
    if let snap = arguments["snap"].flatMap({ Int($0) }) { configuration.snapLength = snap }
    configuration.agent = arguments["agent"]
    configuration.flow = arguments["flow"]
    if arguments["frames"] != nil { configuration.linkType = .ethernet }
    configuration.onlyDrops = arguments["drops"] != nil
    configuration.packetLimit = arguments["count"].flatMap { UInt64($0) }
    configuration.timeLimit = arguments["seconds"].flatMap { Int64($0) }.map { .seconds(min(max(1, $0), 1 << 30)) }
  }

  /// Reads what a LinkManager asks a site for: its filter comes compiled, so that this host parses no text for it.
  public init(remote arguments: [String: String]) {
    self.init(arguments)
    configuration.filterCode = Self.bytes(hexadecimal: arguments["code"] ?? "") ?? [0]
    configuration.filter = String(configuration.filter.prefix(CaptureFilter.sizeLimit))
  }

  /// What a site is to be asked for, with the filter compiled for its packets.
  ///
  /// - Parameter linkType: of the site's packets: those of an interface have an Ethernet header.
  public static func remote(
    _ arguments: [String: String], linkType: LinkType
  ) throws(CommandFailure) -> [String: String] {
    var fields = arguments
    fields["at"] = nil
    fields["agent"] = nil
    do throws(CaptureFilterError) {
      let filter = try CaptureFilter(arguments["filter"] ?? "", linkType: linkType, snapLength: 262_144)
      let code = filter.code()
      // What the site would refuse needn't go there.
      _ = try CaptureFilter(code: code, expression: filter.expression)
      fields["code"] = code.map { String($0 >> 4, radix: 16) + String($0 & 0xF, radix: 16) }.joined()
    } catch {
      throw CommandFailure(.data, "\(error)")
    }
    return fields
  }

  private static func bytes(hexadecimal text: String) -> [UInt8]? {
    let digits = text.utf8.map { Character(UnicodeScalar($0)).hexDigitValue }
    guard digits.count % 2 == 0, !digits.contains(nil) else { return nil }
    return stride(from: 0, to: digits.count, by: 2).map { UInt8((digits[$0] ?? 0) << 4 | (digits[$0 + 1] ?? 0)) }
  }

  /// Makes the capture.
  public func start() throws(CommandFailure) -> Capture {
    do {
      return try Capture(configuration)
    } catch {
      throw CommandFailure(.data, "\(error)")
    }
  }

  /// What is captured, for logs and displays.
  public var summary: String {
    var words: [String] = []
    if let agent = configuration.agent { words.append("agent \(agent)") }
    if let flow = configuration.flow { words.append("flow \(flow)") }
    if configuration.linkType == .ethernet { words.append("frames") }
    if configuration.onlyDrops { words.append("drops") }
    if !configuration.filter.isEmpty { words.append("filter \"\(configuration.filter.prefix(100))\"") }
    return words.isEmpty ? "everything" : words.joined(separator: ", ")
  }
}

/// A capture under way, as `status` shows it.
public struct CaptureReport: Codable, Hashable, Sendable {
  /// Who asked for it.
  public var by: String
  public var what: String
  /// Seconds since 1970.
  public var since: Int64
  public var packets: UInt64
  public var dropped: UInt64
  /// That were captured, whoever has read them.
  public var bytes: UInt64

  public init(by: String, what: String, since: Int64, packets: UInt64, dropped: UInt64, bytes: UInt64) {
    self.by = by
    self.what = what
    self.since = since
    self.packets = packets
    self.dropped = dropped
    self.bytes = bytes
  }

  /// One line for people.
  public var text: String {
    let lost = dropped > 0 ? ", \(dropped) dropped" : ""
    return "capture by \(EscapedText(by)): \(EscapedText(what)): \(packets) packets, \(Quantity.bytes(bytes))\(lost)"
  }
}
