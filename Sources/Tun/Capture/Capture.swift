import Kernel
import Packet
import Primitives
import Synchronization

/// Where packets of a capture were seen: an interface of the file.
public struct CaptureInterface: Hashable, Sendable {
  /// Short, such as a device's or an agent's name. Beyond 200 bytes it is cut.
  public var name: String
  /// For people: what passes there. Beyond 1 KiB it is cut.
  public var description: String
  public var linkType: LinkType
  /// For programs that replay the capture; at most 8 KiB, or it is left out.
  public var comment: String

  public init(_ name: String, description: String, linkType: LinkType = .raw, comment: String = "") {
    self.name = name
    self.description = description
    self.linkType = linkType
    self.comment = comment
  }
}

/// What is captured, and how much of it.
public struct CaptureConfiguration: Hashable, Sendable {
  /// In the language of pcap-filter(7); all packets if it is empty.
  public var filter = ""
  /// What the packets that are wanted begin with, and so what `filter` is compiled for: a filter may be one for Ethernet
  /// alone. `nil` for packets of any kind, and with a filter for `raw` ones.
  public var linkType: LinkType?
  /// The filter as somebody else has compiled it, for the one kind of packets that there are: `CaptureFilter.code`. What
  /// `filter` says is shown, and not compiled.
  public var filterCode: [UInt8]?
  /// Bytes of a packet that are kept, 64 to 262,144.
  public var snapLength = 262_144
  /// The agent whose packets are wanted, `SITE/AGENT` at a LinkManager and `AGENT` at a site; all if `nil`.
  public var agent: String?
  /// The flow whose packets are wanted, as the logs and displays call it; all if `nil`.
  public var flow: String?
  /// Only packets that were dropped or refused.
  public var onlyDrops = false
  /// Packets after which the capture ends by itself.
  public var packetLimit: UInt64?
  /// Time after which it does.
  public var timeLimit: Interval?
  /// Bytes that may wait to be written: what comes while they do is dropped and counted.
  public var memory = 8 << 20

  public init() {}
}

/// What a capture has come to.
public struct CaptureCounters: Hashable, Sendable {
  /// Packets that were handed to the writer.
  public var captured: UInt64 = 0
  /// Packets that the filter let by.
  public var filtered: UInt64 = 0
  /// Packets for which there was no room.
  public var dropped: UInt64 = 0
  /// That were kept of captured packets.
  public var bytes: UInt64 = 0

  /// All that were seen.
  public var seen: UInt64 { captured &+ filtered &+ dropped }

  public init() {}
}

/// One capture: taps put packets in from any thread, and whoever called `run` writes them as pcapng.
///
/// To put a packet in never waits: it is copied to a ring of fixed size, or dropped and counted. The filter looks at the
/// copy, so that it sees a packet's bytes in one piece, wherever they lay.
public final class Capture: Sendable {
  /// Interfaces of a capture at most; packets of further ones are counted to the last.
  public static let interfaceLimit = 1024
  /// Bytes of a packet's comment.
  public static let commentLimit = 512

  public let configuration: CaptureConfiguration
  let ring: CaptureRing
  private let filter: CaptureFilter
  private let tables = Mutex(Tables())
  private let stopped = Atomic(false)

  struct Tables {
    var interfaces: [CaptureInterface] = []
    var numbers: [CaptureInterface: Int] = [:]
    var counters: [CaptureCounters] = []
  }

  /// - Throws: `CaptureFilterError` for a filter that isn't one, `SystemError` for want of a descriptor.
  public init(_ configuration: CaptureConfiguration) throws {
    var bounded = configuration
    bounded.snapLength = min(max(64, configuration.snapLength), 262_144)
    self.configuration = bounded
    if let code = configuration.filterCode {
      filter = try CaptureFilter(code: code, expression: configuration.filter)
    } else {
      filter = try CaptureFilter(
        configuration.filter, linkType: configuration.linkType ?? .raw, snapLength: bounded.snapLength)
    }
    ring = try CaptureRing(capacity: bounded.memory)
  }

  // MARK: In

  /// Whether packets of a kind are wanted: a filter is for one kind alone.
  public func takes(_ linkType: LinkType) -> Bool {
    if let wanted = configuration.linkType { return wanted == linkType }
    return linkType == .raw || configuration.filter.isEmpty && configuration.filterCode == nil
  }

  /// The number of an interface, which is a new one if it wasn't known. For when a flow begins, not for each packet.
  public func number(of interface: CaptureInterface) -> Int {
    tables.withLock { tables in
      if let known = tables.numbers[interface] { return known }
      guard tables.interfaces.count < Self.interfaceLimit else { return tables.interfaces.count - 1 }
      tables.numbers[interface] = tables.interfaces.count
      tables.interfaces.append(interface)
      tables.counters.append(CaptureCounters())
      return tables.interfaces.count - 1
    }
  }

  /// Puts a packet in: `header` and behind it the bytes of `payload`.
  ///
  /// - Parameters:
  ///   - interface: as `number(of:)` gave it.
  ///   - nanoseconds: when it passed, since 1970.
  ///   - comment: UTF-8, shown beside the packet; cut to `commentLimit`.
  public func record(
    _ interface: Int, _ direction: PacketDirection, at nanoseconds: Int64, comment: [UInt8], offload: Offload = .none,
    header: Span<UInt8>, payload: Span<Slice> = Span(), pool: borrowing SlabPool
  ) {
    var original = header.count
    for index in payload.indices { original += payload[index].count }
    let kept = min(original, configuration.snapLength)
    let commentCount = min(comment.count, Self.commentLimit)
    let fixed = MemoryLayout<CaptureRecord>.stride
    guard !stopped.load(ordering: .relaxed), let place = ring.reserve(fixed + commentCount + kept) else {
      return count(interface) { $0.dropped &+= 1 }
    }
    let bytes = unsafe ring.bytes(at: place, count: fixed + commentCount + kept)
    var record = CaptureRecord()
    record.nanoseconds = nanoseconds
    record.originalCount = UInt32(truncatingIfNeeded: original)
    record.capturedCount = UInt32(truncatingIfNeeded: kept)
    record.interface = UInt16(truncatingIfNeeded: interface)
    record.commentCount = UInt16(truncatingIfNeeded: commentCount)
    record.direction = UInt8(truncatingIfNeeded: direction.rawValue)
    if offload.segmentation != .none { record.segmentSize = UInt32(truncatingIfNeeded: offload.segmentSize) }
    if case .partial = offload.checksum { record.flags = CaptureRecord.partialChecksum }
    unsafe bytes.storeBytes(of: record, as: CaptureRecord.self)
    for index in 0..<commentCount { unsafe bytes[fixed + index] = comment[index] }
    let start = fixed + commentCount
    var end = start
    unsafe end += copy(header, to: bytes, at: start)
    for index in payload.indices where end < bytes.count {
      pool.withSpan(payload[index]) { part in unsafe end += copy(part, to: bytes, at: end) }
    }
    let packet = unsafe UnsafeRawBufferPointer(rebasing: bytes[start..<end])
    let isWanted = unsafe filter.matches(packet, originalCount: original)
    ring.commit(place, keep: isWanted)
    count(interface) { counters in
      guard isWanted else { return counters.filtered &+= 1 }
      counters.captured &+= 1
      counters.bytes &+= UInt64(kept)
    }
  }

  /// Copies as much as there is room for.
  private func copy(_ part: Span<UInt8>, to bytes: UnsafeMutableRawBufferPointer, at place: Int) -> Int {
    let count = min(part.count, bytes.count - place)
    guard count > 0 else { return 0 }
    unsafe part.withUnsafeBytes { source in
      guard let from = source.baseAddress, let base = bytes.baseAddress else { return }
      unsafe (base + place).copyMemory(from: from, byteCount: count)
    }
    return count
  }

  private func count(_ interface: Int, _ change: (inout CaptureCounters) -> Void) {
    tables.withLock { tables in
      if tables.counters.indices.contains(interface) { change(&tables.counters[interface]) }
    }
  }

  // MARK: Ends

  /// Ends it: what was captured is still written, and `run` returns.
  public func stop() {
    stopped.store(true, ordering: .relaxed)
    ring.wakeup.signal()
  }

  public var isStopped: Bool { stopped.load(ordering: .relaxed) }

  /// Of all interfaces together.
  public var counters: CaptureCounters {
    tables.withLock { tables in
      tables.counters.reduce(into: CaptureCounters()) { sum, next in
        sum.captured &+= next.captured
        sum.filtered &+= next.filtered
        sum.dropped &+= next.dropped
        sum.bytes &+= next.bytes
      }
    }
  }

  /// The interfaces from the `first` on.
  func interfaces(from first: Int) -> [CaptureInterface] {
    tables.withLock { Array($0.interfaces.dropFirst(first)) }
  }

  func counters(of interface: Int) -> CaptureCounters {
    tables.withLock { $0.counters.indices.contains(interface) ? $0.counters[interface] : CaptureCounters() }
  }
}
