import Framing
import Kernel
import Primitives

/// One stream or flow on the site's side: a socket to the device and what waits for it.
struct DeviceFlow: ~Copyable {
  /// `listening` until the device has opened its FTP data connection to the site.
  enum Phase: Equatable { case dialling, listening, open }

  let id: StreamID
  let agent: String
  let kind: StreamProtocol
  /// Unspecified for what is no flow to an address.
  var target: Endpoint
  var socket: OwnedDescriptor
  var phase: Phase
  /// When it was asked for, and how long it took to reach the device.
  let since: Instant
  var dial: Interval?
  /// Payload that the device has sent, and that its socket has taken.
  var bytesFromDevice: UInt64 = 0
  var bytesToDevice: UInt64 = 0
  /// When the dial is given up, or an idle datagram flow.
  var deadline: Instant
  /// What to do with the socket next.
  var stream = DeviceStream()
  /// Waits in the list of flows to read.
  var isInReadList = false
  /// Waits in the list of flows to write.
  var isInWriteList = false
  /// For datagrams: how many the kernel had no room for, as of the last look.
  var kernelDrops: UInt32 = 0
  /// For datagrams: those of more bytes are sent one by one.
  var segmentLimit = 0
  /// For echo: the identifier that this flow uses on the device's network, and the peer's own.
  var echoIdentifier: UInt16 = 0
  var peerIdentifier: UInt16 = 0

  /// For a service: the interface that its agent stood for when it was opened.
  var interface: SiteInterface?

  /// For an FTP control connection: what it says.
  var ftp: FTPControl?
  /// For an FTP data connection: permitted because of what was said, whatever the agent's ports.
  var isFTPData = false
  /// For one that the device opens: its control connection, and where the site listens.
  var control: SlotID?
  var listensAt: Endpoint?
  /// Connections of others than the device that were turned away.
  var strangers = 0

  init(
    id: StreamID, agent: String, _ kind: StreamProtocol, target: Endpoint, socket: consuming OwnedDescriptor,
    phase: Phase, since: Instant, deadline: Instant
  ) {
    self.id = id
    self.agent = agent
    self.kind = kind
    self.target = target
    self.socket = socket
    self.phase = phase
    self.since = since
    self.deadline = deadline
  }

  /// One gathered send of what waits for the device.
  mutating func sendPending(_ gather: borrowing Gather, pool: inout SlabPool) throws(SystemError) -> Transfer {
    try gather.send(&stream.pending, to: socket, pool: &pool)
  }

  /// One send of the first of some datagrams for the device, and of those that go along.
  mutating func sendDatagrams(
    _ queue: inout RingQueue<Slice>, _ gather: borrowing DatagramGather, pool: inout SlabPool
  ) throws(SystemError) -> DatagramGather.Outcome {
    try gather.send(&queue, to: socket, segmentLimit: &segmentLimit, pool: &pool)
  }
}

extension Refusal {
  /// What a failed dial tells the other end, so that it can act as the device's network would.
  init(dialling error: SystemError) {
    let reason: Reason
    switch error.code {
    case SystemError.connectionRefused: reason = .deviceRefused
    case SystemError.hostUnreachable: reason = .hostUnreachable
    case SystemError.networkUnreachable: reason = .networkUnreachable
    case SystemError.connectionTimedOut: reason = .timedOut
    default: reason = .siteError
    }
    self.init(reason, reason == .siteError ? "\(error)" : "")
  }
}
