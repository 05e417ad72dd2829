internal import CPcap
import Glibc
import Kernel
import Primitives

/// Sees and sends frames on an interface by libpcap. Needs CAP_NET_RAW.
@safe public struct PacketCapture: ~Copyable {
  public struct Configuration: Hashable, Sendable {
    public var interface: String
    /// A filter in the language of pcap-filter(7); all packets if it is empty.
    public var filter: String
    /// Bytes of a packet that are kept.
    public var snapLength: Int
    public var isPromiscuous: Bool

    public init(interface: String, filter: String = "", snapLength: Int = 65_535, isPromiscuous: Bool = false) {
      self.interface = interface
      self.snapLength = snapLength
      self.filter = filter
      self.snapLength = snapLength
      self.isPromiscuous = isPromiscuous
    }
  }

  public struct Packet: Hashable, Sendable {
    /// The packet at the beginning of the slice that was given. Holds no reference of its own.
    public var slice: Slice
    /// Since 1970.
    public var nanoseconds: Int64
    /// Bytes that the packet had on the wire.
    public var originalCount: Int
  }

  /// Packets seen and dropped, by the kernel's account.
  public struct Statistics: Hashable, Sendable {
    public var received: UInt32
    public var dropped: UInt32
  }

  public let interface: String
  /// `nil` for a kind that this package doesn't speak.
  public let linkType: LinkType?
  private let handle: OpaquePointer
  private let snapLength: Int

  /// Starts to capture: packets are there at once (immediate mode), and reading doesn't block.
  public init(_ configuration: Configuration) throws(TunError) {
    let interface = configuration.interface
    let snapLength = min(max(1, configuration.snapLength), 262_144)
    var text = [CChar](repeating: 0, count: Int(PCAP_ERRBUF_SIZE))
    guard let handle = unsafe pcap_create(interface, &text) else {
      throw TunError(call: "pcap_create", device: interface, cause: .capture(Self.string(text)))
    }
    do throws(TunError) {
      // libpcap lays its ring out for an Ethernet header in front, and on a link without one it cuts a packet that
      // much too early.
      unsafe pcap_set_snaplen(handle, CInt(clamping: snapLength + 16))
      unsafe pcap_set_promisc(handle, configuration.isPromiscuous ? 1 : 0)
      unsafe pcap_set_immediate_mode(handle, 1)
      // Fails where the kernel has microseconds only: what came of it is asked for each packet.
      unsafe pcap_set_tstamp_precision(handle, PCAP_TSTAMP_PRECISION_NANO)
      let code = unsafe pcap_activate(handle)
      if code == PCAP_ERROR_PERM_DENIED || code == PCAP_ERROR_PROMISC_PERM_DENIED {
        throw TunError(call: "pcap_activate", device: interface, cause: .system(EPERM))
      }
      if code == PCAP_ERROR_NO_SUCH_DEVICE {
        throw TunError(call: "pcap_activate", device: interface, cause: .system(ENODEV))
      }
      guard code >= 0 else { throw unsafe Self.failure(handle, "pcap_activate", interface) }
      guard unsafe pcap_setnonblock(handle, 1, &text) == 0 else {
        throw TunError(call: "pcap_setnonblock", device: interface, cause: .capture(Self.string(text)))
      }
      if !configuration.filter.isEmpty {
        var program = unsafe bpf_program()
        guard unsafe pcap_compile(handle, &program, configuration.filter, 1, UInt32.max) == 0 else {
          throw unsafe Self.failure(handle, "pcap_compile", configuration.filter)
        }
        defer { unsafe pcap_freecode(&program) }
        guard unsafe pcap_setfilter(handle, &program) == 0 else {
          throw unsafe Self.failure(handle, "pcap_setfilter", interface)
        }
      }
    } catch {
      unsafe pcap_close(handle)
      throw error
    }
    self.interface = interface
    self.snapLength = snapLength
    unsafe self.handle = unsafe handle
    linkType =
      switch unsafe pcap_datalink(handle) {
      case DLT_EN10MB: .ethernet
      case DLT_RAW: .raw
      default: nil
      }
  }

  deinit {
    unsafe pcap_close(handle)
  }

  /// The descriptor to poll for `readable`.
  public var descriptor: CInt? {
    let fd = unsafe pcap_get_selectable_fd(handle)
    return fd >= 0 ? fd : nil
  }

  /// Copies the next packet to the beginning of `slice`, cut if it is longer; `nil` when there is none for now.
  public mutating func next(into slice: Slice, pool: inout SlabPool) throws(TunError) -> Packet? {
    var header: UnsafeMutablePointer<pcap_pkthdr>? = nil
    var bytes: UnsafePointer<UInt8>? = nil
    let code = unsafe pcap_next_ex(handle, &header, &bytes)
    guard code >= 0 else { throw unsafe Self.failure(handle, "pcap_next_ex", interface) }
    guard code == 1, let header = unsafe header?.pointee, let bytes = unsafe bytes else { return nil }
    let count = min(Int(header.caplen), slice.count, snapLength)
    unsafe pool.pointer(to: slice).copyMemory(from: bytes, byteCount: count)
    let isNano = unsafe pcap_get_tstamp_precision(handle) == PCAP_TSTAMP_PRECISION_NANO
    let fraction = Int64(header.ts.tv_usec) &* (isNano ? 1 : 1000)
    return Packet(
      slice: slice.prefix(count), nanoseconds: Int64(header.ts.tv_sec) &* 1_000_000_000 &+ fraction,
      originalCount: Int(header.len))
  }

  /// Sends a frame as it is.
  public mutating func inject(_ frame: Span<UInt8>) throws(TunError) {
    let sent = unsafe frame.withUnsafeBytes { unsafe pcap_inject(handle, $0.baseAddress, $0.count) }
    guard sent >= 0 else { throw unsafe Self.failure(handle, "pcap_inject", interface) }
  }

  public func statistics() -> Statistics {
    var found = pcap_stat()
    guard unsafe pcap_stats(handle, &found) == 0 else { return Statistics(received: 0, dropped: 0) }
    return Statistics(received: found.ps_recv, dropped: found.ps_drop)
  }

  private static func failure(_ handle: OpaquePointer, _ call: String, _ subject: String) -> TunError {
    let message = unsafe pcap_geterr(handle).map { unsafe String(cString: $0) } ?? "unknown error"
    return TunError(call: call, device: subject, cause: .capture(message))
  }

  private static func string(_ text: [CChar]) -> String {
    String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }
}
