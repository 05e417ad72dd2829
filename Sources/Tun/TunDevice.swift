internal import CLinux
import Glibc
import Kernel
import Packet
import Primitives

/// A TUN or TAP device. It exists as long as this value does.
///
/// A packet crosses in one system call each way. What is read begins with a vnet header (struct virtio_net_hdr), in the
/// slice before the packet: a plain read costs a tenth less than a scattered one. What is written has its own from room of
/// the device's own.
///
/// Sendable because its memory belongs to this value alone, and is touched by `mutating` calls only.
@safe public struct TunDevice: ~Copyable, PacketDevice, @unchecked Sendable {
  /// The name that the kernel gave.
  public let name: String
  /// The interface's index; `nil` if the device lives in another network namespace than the calling thread.
  public let index: Int?
  public let kind: TunKind
  /// Whether super-segments and unfinished checksums can cross at all (IFF_VNET_HDR).
  public var hasVnetHeader: Bool { vnetSize > 0 }
  /// What the kernel may hand over unfinished.
  public let features: TunFeatures
  public private(set) var counters = DeviceCounters()

  private let owned: OwnedDescriptor
  private let vnetSize: Int
  /// Two iovecs for the headers, the others for payload.
  private let vectors: UnsafeMutablePointer<iovec>
  /// The vnet header of the packet that is read or written.
  private let vnet: UnsafeMutablePointer<UInt8>
  private var segmenter = Segmenter()
  /// Set once the kernel has refused a UDP super-segment.
  var refusesUDPSegmentation = false

  private static let vectorLimit = 2 + PacketLimits.payloadSlices
  /// The kernel takes any size from 10 on; larger ones are future fields, which stay 0.
  private static let vnetSizes = VirtioNetHeader.size...64

  // MARK: Opening

  /// Opens a device: non-blocking, not persistent, down. Needs CAP_NET_ADMIN.
  public init(opening configuration: TunConfiguration) throws(TunError) {
    let wanted = configuration.name
    guard (1...15).contains(wanted.utf8.count), !wanted.utf8.contains(where: { $0 <= 0x20 || $0 == 0x2F || $0 == 0x7F })
    else { throw TunError(call: "open", device: wanted, cause: .badName) }
    let fd = unsafe clinux_open_device(configuration.path)
    guard fd >= 0 else { throw TunError(.last("open", configuration.path)) }
    let descriptor = OwnedDescriptor(owning: fd)
    let kindFlag = configuration.kind == .tun ? CLINUX_TUN_KIND_TUN : CLINUX_TUN_KIND_TAP
    var flags = UInt16(
      kindFlag | CLINUX_TUN_NO_PACKET_INFORMATION | CLINUX_TUN_VNET_HEADER)
    if configuration.isMultiQueue { flags |= UInt16(CLINUX_TUN_MULTI_QUEUE) }
    var room = InterfaceName(wanted)
    guard unsafe room.withBytes({ unsafe clinux_tun_attach(fd, flags, $0) }) == 0 else {
      throw TunError(.last("ioctl(TUNSETIFF)", wanted))
    }
    let name = room.string
    guard clinux_tun_set_header_size(fd, CInt(VirtioNetHeader.size)) == 0 else {
      throw TunError(.last("ioctl(TUNSETVNETHDRSZ)", name))
    }
    let features = Self.enable(configuration.offloads, fd)
    self.init(descriptor, name: name, kind: configuration.kind, vnetSize: VirtioNetHeader.size, features: features)
  }

  /// Takes over a descriptor on which someone else did TUNSETIFF, and enables what offloads it may.
  ///
  /// Without a vnet header the device works on plain packets: checksums and segmentation are then done in software.
  /// The descriptor becomes non-blocking.
  public init(adopting descriptor: consuming OwnedDescriptor, offloads: TunFeatures = .all) throws(TunError) {
    let fd = descriptor.rawValue
    var flags: UInt16 = 0
    var room = InterfaceName("")
    guard unsafe room.withBytes({ unsafe clinux_tun_query(fd, &flags, $0) }) == 0 else {
      let error = SystemError.last("ioctl(TUNGETIFF)")
      let isForeign = [ENOTTY, EINVAL, EBADFD, EOPNOTSUPP].contains(error.code)
      throw isForeign ? TunError(call: error.call, cause: .notADevice) : TunError(error)
    }
    let name = room.string
    guard flags & UInt16(CLINUX_TUN_NO_PACKET_INFORMATION) != 0 else {
      throw TunError(call: "ioctl(TUNGETIFF)", device: name, cause: .packetInformation)
    }
    var vnetSize: CInt = 0
    var features: TunFeatures = []
    if flags & UInt16(CLINUX_TUN_VNET_HEADER) != 0 {
      guard unsafe clinux_tun_header_size(fd, &vnetSize) == 0 else {
        throw TunError(.last("ioctl(TUNGETVNETHDRSZ)", name))
      }
      guard Self.vnetSizes.contains(Int(vnetSize)) else {
        throw TunError(call: "ioctl(TUNGETVNETHDRSZ)", device: name, cause: .vnetHeaderSize(Int(vnetSize)))
      }
      features = Self.enable(offloads, fd)
    }
    do throws(SystemError) { try descriptor.setNonblocking(true) } catch { throw TunError(error, device: name) }
    let kind: TunKind = flags & UInt16(CLINUX_TUN_KIND_TAP) != 0 ? .tap : .tun
    self.init(descriptor, name: name, kind: kind, vnetSize: Int(vnetSize), features: features)
  }

  private init(
    _ descriptor: consuming OwnedDescriptor, name: String, kind: TunKind, vnetSize: Int, features: TunFeatures
  ) {
    self.name = name
    self.kind = kind
    self.vnetSize = vnetSize
    self.features = features
    owned = descriptor
    let found = unsafe clinux_interface_index(name)
    index = found > 0 ? Int(found) : nil
    unsafe vectors = .allocate(capacity: Self.vectorLimit)
    unsafe vectors.initialize(repeating: iovec(), count: Self.vectorLimit)
    unsafe vnet = .allocate(capacity: Self.vnetSizes.upperBound)
    unsafe vnet.initialize(repeating: 0, count: Self.vnetSizes.upperBound)
  }

  deinit {
    unsafe vectors.deallocate()
    unsafe vnet.deallocate()
  }

  /// Tries all that is wanted, then without USO (older than Linux 6.2), then checksums alone.
  private static func enable(_ wanted: TunFeatures, _ fd: CInt) -> TunFeatures {
    // Segmentation without checksum offload is refused by the kernel.
    let all = wanted.isEmpty ? wanted : wanted.union(.checksum)
    for attempt in [all, all.intersection(.basic), all.intersection(.checksum)]
    where clinux_tun_set_offload(fd, attempt.rawValue) == 0 {
      return attempt
    }
    return []
  }

  public var descriptor: CInt? { owned.rawValue }

  /// A second descriptor of the same device, to be kept over a restart or handed to another process.
  public borrowing func duplicate() throws(TunError) -> OwnedDescriptor {
    do throws(SystemError) { return try owned.duplicate() } catch { throw TunError(error, device: name) }
  }

  /// Lets the interface look as if a cable was plugged in, or not (TUNSETCARRIER, Linux 5.0; without it, it always does).
  public borrowing func setCarrier(_ on: Bool) {
    _ = clinux_tun_set_carrier(owned.rawValue, on ? 1 : 0)
  }

  // MARK: Packets

  public mutating func read(into slice: Slice, pool: inout SlabPool) throws(TunError) -> PacketRead {
    var count = 0
    repeat {
      count = unsafe Glibc.read(owned.rawValue, pool.pointer(to: slice), slice.count)
      if count < 0 {
        switch clinux_errno() {
        case EINTR: continue
        case EAGAIN: return .wouldBlock
        case let code: throw TunError(SystemError(call: "read", subject: name, code: code))
        }
      }
    } while count < 0
    let packet = slice.prefix(count).dropping(min(vnetSize, count))
    guard !packet.isEmpty, let offload = pool.withSpan(slice, { offload(of: packet.count, vnet: $0) }) else {
      counters.badOffloads &+= 1
      return .dropped
    }
    counters.countRead(packet.count, offload)
    return .packet(packet, offload)
  }

  /// What the vnet header that was read says about a packet of `size` bytes; `nil` if they don't fit each other.
  private func offload(of size: Int, vnet bytes: Span<UInt8>) -> Offload? {
    vnetSize == 0 ? Offload() : try? VirtioNetHeader(parsing: bytes).validate(against: size)
  }

  public mutating func write(
    _ offload: Offload, header: Span<UInt8>, payload: Span<Slice>, pool: inout SlabPool
  ) throws(TunError) -> PacketWrite {
    guard payload.count <= PacketLimits.payloadSlices, header.count <= PacketLimits.headerSize, !header.isEmpty else {
      return counters.count(.malformed)
    }
    if !takesWhole(offload) { return try writeFinished(offload, header: header, payload: payload, pool: pool) }
    var size = header.count
    for index in payload.indices {
      let slice = payload[index]
      unsafe vectors[2 + index] = unsafe iovec(iov_base: pool.pointer(to: slice), iov_len: slice.count)
      size += slice.count
    }
    setVnetHeader(offload, headerCount: header.count)
    switch try send(header, vectorCount: 2 + payload.count) {
    case .written:
      counters.countWritten(size, offload)
      return .written
    case .dropped(.rejected) where offload.segmentation != .none:
      // The kernel knows no such segmentation (USO before Linux 6.2), or it dislikes this combination.
      if offload.segmentation == .udp { refusesUDPSegmentation = true }
      return try writeFinished(offload, header: header, payload: payload, pool: pool)
    case .dropped(let reason):
      return counters.count(reason)
    }
  }

  private func takesWhole(_ offload: Offload) -> Bool {
    if vnetSize == 0 {
      if case .partial = offload.checksum { return false }
      return offload.segmentation == .none
    }
    return !(offload.segmentation == .udp && refusesUDPSegmentation)
  }

  /// Splits and completes the packet in software; what is left for the kernel is nothing.
  private mutating func writeFinished(
    _ offload: Offload, header: Span<UInt8>, payload: Span<Slice>, pool: borrowing SlabPool
  ) throws(TunError) -> PacketWrite {
    guard segmenter.begin(offload, header: header, payload: payload, isEthernet: kind == .tap) else {
      return counters.count(.malformed)
    }
    if offload.segmentation != .none { counters.softwareSegmented &+= 1 }
    setVnetHeader(Offload(), headerCount: 0)
    var result = PacketWrite.written
    while let segment = segmenter.next(payload: payload, pool: pool) {
      var used = 2
      segmenter.forEachPiece(of: segment, payload: payload) { slice in
        unsafe vectors[used] = unsafe iovec(iov_base: pool.pointer(to: slice), iov_len: slice.count)
        used += 1
      }
      switch try send(segmenter.header.span, vectorCount: used) {
      case .written: counters.countWritten(segmenter.header.count + segment.count, .none)
      case .dropped(let reason): result = counters.count(reason)
      }
    }
    return result
  }

  /// The fields; what a larger vnet header has behind them is 0.
  private func setVnetHeader(_ offload: Offload, headerCount: Int) {
    unsafe vnet.update(repeating: 0, count: vnetSize)
    let bytes = unsafe UnsafeMutableBufferPointer(start: vnet, count: VirtioNetHeader.size)
    var span = unsafe bytes.mutableSpan
    VirtioNetHeader(offload, headerLength: headerCount).write(into: &span)
  }

  /// One packet, whose payload vectors are set, in one system call. Counts nothing.
  private func send(_ header: Span<UInt8>, vectorCount: Int) throws(TunError) -> PacketWrite {
    unsafe vectors[0] = unsafe iovec(iov_base: vnet, iov_len: vnetSize)
    let sent = unsafe header.withUnsafeBufferPointer { bytes in
      // writev only reads what its vectors point to.
      unsafe vectors[1] = unsafe iovec(
        iov_base: UnsafeMutableRawPointer(mutating: bytes.baseAddress), iov_len: bytes.count)
      var sent = 0
      repeat {
        sent = unsafe writev(owned.rawValue, vectors, CInt(vectorCount))
      } while sent < 0 && clinux_errno() == EINTR
      return sent
    }
    if sent >= 0 { return .written }
    switch clinux_errno() {
    case EAGAIN, ENOBUFS, ENOMEM: return .dropped(.full)
    case EIO: return .dropped(.down)
    case EINVAL, EMSGSIZE, E2BIG: return .dropped(.rejected)
    case let code: throw TunError(SystemError(call: "writev", subject: name, code: code))
    }
  }
}

/// Room for an interface's name, as the kernel's calls want it: ended by 0.
struct InterfaceName {
  private var bytes: [CChar]

  init(_ name: String) {
    bytes = name.utf8.prefix(Int(CLINUX_INTERFACE_NAME_SIZE) - 1).map { CChar(bitPattern: $0) }
    bytes += Array(repeating: 0, count: Int(CLINUX_INTERFACE_NAME_SIZE) - bytes.count)
  }

  mutating func withBytes<R>(_ body: (UnsafeMutablePointer<CChar>) -> R) -> R {
    unsafe bytes.withUnsafeMutableBufferPointer { unsafe body($0.baseAddress.unsafelyUnwrapped) }
  }

  var string: String {
    String(decoding: bytes.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }
}
