internal import CLinux
import Glibc
import Kernel
import Packet
import Primitives

/// Raw Ethernet on an interface of the host, by a packet socket (packet(7)). Needs CAP_NET_RAW.
///
/// Frames cross with what is left undone in them, so that super-segments come and go whole; a VLAN tag that the kernel
/// took out stands in its place again. This host's own frames aren't seen, and neither are those that are sent here.
/// The interface doesn't become promiscuous: see `join` for what it lets through beyond its own address and broadcasts.
///
/// While frames are small, one call receives a batch of them, from which `read` serves; a super-segment is received
/// where it is to lie.
///
/// Sendable because its memory belongs to this value alone, and is touched by `mutating` calls only.
@safe public struct EthernetInterface: ~Copyable, PacketDevice, @unchecked Sendable {
  public let name: String
  public let index: Int
  /// The interface's own address.
  public let address: MACAddress
  public private(set) var counters = DeviceCounters()
  /// Frames that found no room in the socket's buffer, as of the last `countKernelDrops`.
  public private(set) var kernelDrops: UInt64 = 0
  /// Frames longer than the room that was given, or that the kernel couldn't describe.
  public private(set) var unreadable: UInt64 = 0
  /// Set when the last write was refused because the socket's buffer is full, or the interface's own queue: the same frame
  /// can be written once the descriptor is writable, or a moment later.
  public private(set) var isBlocked = false

  private let owned: OwnedDescriptor
  private let batch: OpaquePointer
  /// Frames of the batch, and the next of them.
  private var batchCount = 0
  private var batchNext = 0
  /// Frames that were small, since the last large one.
  private var smallFrames = 0
  private let vectors: UnsafeMutablePointer<iovec>
  private let vnet: UnsafeMutablePointer<UInt8>
  private var segmenter = Segmenter()
  private var refusesUDPSegmentation = false

  private static let vectorLimit = 2 + PacketLimits.payloadSlices
  /// What fits into a slot of the batch is small.
  private static let smallSize = Int(CLINUX_BATCH_SLOT)
  /// So many small frames in a row, and they are received in batches.
  private static let smallRun = 8
  private static let vnetSize = VirtioNetHeader.size
  /// A tag's room, and what makes the frame begin at a multiple of 16 bytes.
  private static let padding = 6
  /// ARPHRD_ETHER and ARPHRD_LOOPBACK (linux/if_arp.h): both have Ethernet headers.
  private static let ethernetKinds: Set<UInt32> = [1, 772]

  // MARK: Opening

  /// Starts to receive: non-blocking, and never a frame that the filter refuses.
  public init(opening configuration: EthernetConfiguration) throws(TunError) {
    let name = configuration.interface
    let descriptor = OwnedDescriptor(
      owning: try Self.check(clinux_ethernet_socket(), "socket(AF_PACKET)", name))
    let found = unsafe clinux_interface_index(name)
    guard found > 0 else { throw TunError(call: "if_nametoindex", device: name, cause: .system(ENODEV)) }
    let fd = descriptor.rawValue
    var failed: CInt = 0
    if unsafe clinux_ethernet_prepare(fd, &failed) < 0 {
      throw TunError(.last("setsockopt(SOL_PACKET, \(failed))", name))
    }
    try Self.attach(configuration.filter, fd, name)
    do throws(SystemError) {
      try Socket.setReceiveBuffer(descriptor, bytes: CInt(clamping: configuration.receiveBuffer))
    } catch {
      throw TunError(error, device: name)
    }
    try Self.check(clinux_ethernet_bind(fd, found), "bind(AF_PACKET)", name)
    var (interface, kind, size): (CInt, CUnsignedInt, CUnsignedInt) = (0, 0, 0)
    var bytes: [UInt8] = Array(repeating: 0, count: 8)
    try Self.check(unsafe clinux_ethernet_name(fd, &interface, &kind, &bytes, &size), "getsockname(AF_PACKET)", name)
    guard Self.ethernetKinds.contains(kind), size == 6 else {
      throw TunError(call: "bind(AF_PACKET)", device: name, cause: .notEthernet)
    }
    for address in configuration.groups { try Self.membership(address, join: true, fd, found, name) }
    if configuration.receivesAllGroups { try Self.allGroups(true, fd, found, name) }
    guard let batch = unsafe clinux_batch_create(PacketLimits.size) else {
      throw TunError(call: "mmap", device: name, cause: .system(ENOMEM))
    }
    unsafe self.init(
      descriptor, batch, name: name, index: Int(found),
      address: MACAddress(bytes.prefix(6).reduce(0) { $0 << 8 | UInt64($1) }))
  }

  private init(
    _ descriptor: consuming OwnedDescriptor, _ batch: OpaquePointer, name: String, index: Int, address: MACAddress
  ) {
    self.name = name
    self.index = index
    self.address = address
    owned = descriptor
    unsafe self.batch = unsafe batch
    unsafe vectors = .allocate(capacity: Self.vectorLimit)
    unsafe vectors.initialize(repeating: iovec(), count: Self.vectorLimit)
    unsafe vnet = .allocate(capacity: Self.vnetSize)
    unsafe vnet.initialize(repeating: 0, count: Self.vnetSize)
  }

  deinit {
    unsafe clinux_batch_free(batch)
    unsafe vectors.deallocate()
    unsafe vnet.deallocate()
  }

  public var descriptor: CInt? { owned.rawValue }

  // MARK: What is received

  /// Replaces the filter that the kernel applies. Frames that are received already still come.
  public borrowing func setFilter(_ filter: EthernetTypeFilter) throws(TunError) {
    try Self.attach(filter, owned.rawValue, name)
  }

  /// Lets the interface receive frames to one more address: a group's (PACKET_MR_MULTICAST), or that of somebody for
  /// whom this process speaks (PACKET_MR_UNICAST). Ends with this value, or by `leave`.
  public borrowing func join(_ address: MACAddress) throws(TunError) {
    try Self.membership(address, join: true, owned.rawValue, CInt(index), name)
  }

  public borrowing func leave(_ address: MACAddress) throws(TunError) {
    try Self.membership(address, join: false, owned.rawValue, CInt(index), name)
  }

  /// Lets the interface receive frames to all groups (PACKET_MR_ALLMULTI).
  public borrowing func setAllGroups(_ on: Bool) throws(TunError) {
    try Self.allGroups(on, owned.rawValue, CInt(index), name)
  }

  /// PACKET_MR_* of linux/if_packet.h; PACKET_MR_PROMISC is left out on purpose.
  private enum Membership: UInt32 {
    case multicast = 0
    case allGroups = 2
    case unicast = 3
  }

  private static func membership(
    _ address: MACAddress, join: Bool, _ fd: CInt, _ index: CInt, _ name: String
  ) throws(TunError) {
    try membership(address.isMulticast ? .multicast : .unicast, address, join: join, fd, index, name)
  }

  private static func allGroups(_ on: Bool, _ fd: CInt, _ index: CInt, _ name: String) throws(TunError) {
    try membership(.allGroups, MACAddress(0), join: on, fd, index, name)
  }

  private static func membership(
    _ kind: Membership, _ address: MACAddress, join: Bool, _ fd: CInt, _ index: CInt, _ name: String
  ) throws(TunError) {
    let bytes = (0..<6).map { UInt8(truncatingIfNeeded: address.value >> UInt64(40 - 8 * $0)) }
    try check(
      unsafe clinux_ethernet_membership(fd, index, join ? 1 : 0, kind.rawValue, bytes),
      join ? "setsockopt(PACKET_ADD_MEMBERSHIP)" : "setsockopt(PACKET_DROP_MEMBERSHIP)", name)
  }

  private static func attach(_ filter: EthernetTypeFilter, _ fd: CInt, _ name: String) throws(TunError) {
    let program = filter.program.map {
      clinux_bpf(code: $0.code, jump_true: $0.ifTrue, jump_false: $0.ifFalse, operand: $0.operand)
    }
    try check(
      unsafe clinux_ethernet_set_filter(fd, program, UInt16(program.count)), "setsockopt(SO_ATTACH_FILTER)", name)
  }

  @discardableResult
  private static func check(_ result: CInt, _ call: String, _ name: String) throws(TunError) -> CInt {
    if result < 0 { throw TunError(.last(call, name)) }
    return result
  }

  /// Asks the kernel how many frames it had no room for.
  public mutating func countKernelDrops() {
    var (received, dropped): (CUnsignedInt, CUnsignedInt) = (0, 0)
    if unsafe clinux_ethernet_statistics(owned.rawValue, &received, &dropped) == 0 {
      kernelDrops &+= UInt64(dropped)
    }
  }

  // MARK: Frames

  /// The next frame. The `VirtioNetHeader.size` bytes before it in the slice are the caller's to use.
  ///
  /// - Throws: an error with `isDown` while the interface is down or gone.
  public mutating func read(into slice: Slice, pool: inout SlabPool) throws(TunError) -> PacketRead {
    // Room for a tag, so that the frame can move to the front and still have a header's room before it.
    let room = slice.dropping(Self.padding)
    var frame = clinux_frame()
    if batchNext == batchCount, smallFrames >= Self.smallRun {
      let count = unsafe clinux_batch_receive(owned.rawValue, batch)
      guard count >= 0 else { return try failedRead("recvmmsg") }
      batchCount = Int(count)
      batchNext = 0
    }
    if batchNext < batchCount {
      unsafe clinux_batch_take(batch, CInt(batchNext), &frame, pool.pointer(to: room), room.count)
      batchNext += 1
    } else {
      let count = unsafe clinux_ethernet_receive(owned.rawValue, pool.pointer(to: room), room.count, &frame)
      guard count >= 0 else { return try failedRead("recvmsg") }
    }
    let count = Int(frame.count)
    smallFrames = count <= Self.smallSize ? min(smallFrames + 1, Self.smallRun) : 0
    guard frame.is_cut == 0, count >= Self.vnetSize + EthernetHeader.minimumSize else {
      unreadable &+= 1
      return .dropped
    }
    let header = room.prefix(Self.vnetSize)
    let packet = room.range(from: Self.vnetSize, count: count - Self.vnetSize)
    guard let offload = pool.withSpan(header, { try? VirtioNetHeader(parsing: $0).validate(against: packet.count) })
    else {
      counters.badOffloads &+= 1
      return .dropped
    }
    counters.countRead(packet.count, offload)
    return frame.is_tagged == 0
      ? .packet(packet, offload) : restoreTag(frame.tag_type, frame.tag, packet, offload, in: slice, &pool)
  }

  /// Puts a tag back behind the two addresses, which move to the front.
  private func restoreTag(
    _ type: UInt16, _ tag: UInt16, _ packet: Slice, _ offload: Offload, in slice: Slice, _ pool: inout SlabPool
  ) -> PacketRead {
    let size = EthernetHeader.tagSize
    let start = Int(packet.offset - slice.offset) - size
    let tagged = slice.range(from: start, count: packet.count + size)
    unsafe pool.pointer(to: tagged).copyMemory(from: pool.pointer(to: packet), byteCount: 12)
    pool.withMutableSpan(tagged) { bytes in
      for (index, value) in [type >> 8, type, tag >> 8, tag].enumerated() {
        bytes[12 + index] = UInt8(truncatingIfNeeded: value)
      }
    }
    var offload = offload
    if case .partial(let start, let offset) = offload.checksum {
      offload.checksum = .partial(start: start + size, offset: offset)
    }
    return .packet(tagged, offload)
  }

  private mutating func failedRead(_ call: String) throws(TunError) -> PacketRead {
    switch clinux_errno() {
    case EAGAIN, EINTR: return .wouldBlock
    // Something that a vnet header can't describe; the frame is gone.
    case EINVAL:
      unreadable &+= 1
      return .dropped
    case let code: throw TunError(SystemError(call: call, subject: name, code: code))
    }
  }

  /// Sends one frame, whose headers are in `header`: see `PacketDevice`. A frame that was `.full` is not lost while
  /// `isBlocked` is set.
  public mutating func write(
    _ offload: Offload, header: Span<UInt8>, payload: Span<Slice>, pool: inout SlabPool
  ) throws(TunError) -> PacketWrite {
    guard payload.count <= PacketLimits.payloadSlices, header.count <= PacketLimits.headerSize,
      header.count >= EthernetHeader.minimumSize
    else { return counters.count(.malformed) }
    isBlocked = false
    if offload.segmentation == .udp, refusesUDPSegmentation {
      return try writeFinished(offload, header: header, payload: payload, pool: pool)
    }
    var size = header.count
    for index in payload.indices {
      let slice = payload[index]
      unsafe vectors[2 + index] = unsafe iovec(iov_base: pool.pointer(to: slice), iov_len: slice.count)
      size += slice.count
    }
    setVnetHeader(offload, headerCount: header.count)
    switch try send(header, vectorCount: 2 + payload.count) {
    case .dropped(.rejected) where offload.segmentation != .none:
      if offload.segmentation == .udp { refusesUDPSegmentation = true }
      return try writeFinished(offload, header: header, payload: payload, pool: pool)
    case let outcome: return take(outcome, size, offload)
    }
  }

  /// Sends a frame that is complete.
  public mutating func send(_ frame: Span<UInt8>) throws(TunError) -> PacketWrite {
    guard frame.count >= EthernetHeader.minimumSize else { return counters.count(.malformed) }
    isBlocked = false
    setVnetHeader(Offload(), headerCount: 0)
    return take(try send(frame, vectorCount: 2), frame.count, .none)
  }

  private mutating func take(_ outcome: Outcome, _ size: Int, _ offload: Offload) -> PacketWrite {
    switch outcome {
    case .written:
      counters.countWritten(size, offload)
      return .written
    case .blocked:
      isBlocked = true
      return .dropped(.full)
    case .dropped(let reason): return counters.count(reason)
    }
  }

  /// Splits a super-segment in software that the kernel doesn't take whole.
  private mutating func writeFinished(
    _ offload: Offload, header: Span<UInt8>, payload: Span<Slice>, pool: borrowing SlabPool
  ) throws(TunError) -> PacketWrite {
    guard segmenter.begin(offload, header: header, payload: payload, isEthernet: true) else {
      return counters.count(.malformed)
    }
    counters.softwareSegmented &+= 1
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
      // Some of it may be out: to write it again would double that.
      case .blocked: result = counters.count(.full)
      case .dropped(let reason): result = counters.count(reason)
      }
    }
    return result
  }

  private func setVnetHeader(_ offload: Offload, headerCount: Int) {
    let bytes = unsafe UnsafeMutableBufferPointer(start: vnet, count: Self.vnetSize)
    var span = unsafe bytes.mutableSpan
    VirtioNetHeader(offload, headerLength: headerCount).write(into: &span)
  }

  private enum Outcome {
    case written
    /// The socket's buffer is full.
    case blocked
    case dropped(WriteDrop)
  }

  /// One frame, whose payload vectors are set, in one system call. Counts nothing.
  private func send(_ header: Span<UInt8>, vectorCount: Int) throws(TunError) -> Outcome {
    unsafe vectors[0] = unsafe iovec(iov_base: vnet, iov_len: Self.vnetSize)
    let sent = unsafe header.withUnsafeBufferPointer { bytes in
      // sendmsg only reads what its vectors point to.
      unsafe vectors[1] = unsafe iovec(
        iov_base: UnsafeMutableRawPointer(mutating: bytes.baseAddress), iov_len: bytes.count)
      var sent = 0
      repeat {
        sent = unsafe clinux_ethernet_send(owned.rawValue, vectors, CInt(vectorCount))
      } while sent < 0 && clinux_errno() == EINTR
      return sent
    }
    if sent >= 0 { return .written }
    switch clinux_errno() {
    // Of the interface's queue nobody tells when it has room again.
    case EAGAIN, ENOBUFS: return .blocked
    case ENOMEM: return .dropped(.full)
    case ENETDOWN, ENXIO, ENODEV: return .dropped(.down)
    case EINVAL, EMSGSIZE, E2BIG: return .dropped(.rejected)
    case let code: throw TunError(SystemError(call: "sendmsg", subject: name, code: code))
    }
  }
}
