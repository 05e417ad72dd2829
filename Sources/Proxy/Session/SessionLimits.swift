import Framing
import Primitives

/// The bounds of one session, in one place, each with its reason.
public struct SessionLimits: Sendable {
  /// Streams and flows open at once. A technician's tools open dozens; a scanner, or a supervision system that polls a
  /// whole plant by UDP, opens thousands. Each costs some 300 bytes at either end while it is open.
  public var streams = 12 * 1024
  /// Slots that the LinkManager may name. More than `streams`, so that one that asks for too many is refused, not cut.
  public static let slots = 16 * 1024
  /// Bytes that a new stream may send before the first WINDOW frame: what the OPEN handshake implies, so it is the
  /// same at both ends of every version of this protocol.
  public static let initialWindow = 256 * 1024
  /// Largest window that a stream can grow to: 10 Gbit/s at 6 ms, 100 Mbit/s at 600 ms.
  public var maximumWindow = 8 * 1024 * 1024
  /// Sum of all streams' windows beyond which none grows: four of the largest, and well below what presses the memory
  /// of a site, so that windows alone can't get a reader cut.
  public var memoryBudget = 32 * 1024 * 1024
  /// Datagram bytes that may wait per flow; more are dropped, as a network would.
  public var datagramQueue = 1 << 20
  /// Datagrams that have come in part, each of which holds room for the largest. Large ones take turns on the line, so
  /// that some of several flows are under way at once; more are dropped.
  public var partialDatagrams = 64
  /// Control frames that may wait, one for each open stream apart. A peer that makes this end answer faster than the line
  /// takes it is cut off, and who opens and resets streams on this host as fast is refused.
  public var controlFrames = 8192
  /// Silence after which the peer is asked whether it lives. Short against `deadInterval`, so that nearly all of that
  /// is left for a line that is out for a while and comes back.
  public var pingInterval = Interval.seconds(2)
  /// Silence after which the peer is taken for dead.
  public var deadInterval = Interval.seconds(15)
  /// When keys are replaced.
  public var rekey = RekeyPolicy()
  /// Bytes that one stream may send before others get their turn.
  public var quantum = 64 * 1024

  public init() {}
}

/// Why a session ended, and whose fault it was.
public enum SessionError: Error, Equatable, Sendable {
  /// Changed, lost or foreign bytes on the connection.
  case record(RecordError)
  /// The peer sent a frame that can't be understood.
  case frame(FrameError)
  /// The peer broke a rule of the protocol.
  case violation(Violation)
  /// The peer said nothing for this long.
  case peerSilent(Interval)
  /// This end misused the session.
  case misuse(String)

  public enum Violation: Equatable, Sendable {
    /// More data than the stream's window allowed.
    case creditExceeded(StreamID)
    /// A frame that this role may not send.
    case wrongRole(FrameType)
    /// An OPEN for a stream that is open.
    case streamInUse(StreamID)
    /// Data after FIN, or a frame of the wrong kind of stream.
    case wrongState(FrameType, StreamID)
    /// A frame after END, or behind REKEY in its record.
    case afterEnd
    /// More answers demanded than the line takes.
    case flooding
  }
}

extension SessionError: CustomStringConvertible {
  /// Reads behind "the peer broke the protocol: ".
  public var description: String {
    switch self {
    case .record(let error): "\(error)"
    case .frame(let error): "\(error)"
    case .violation(let violation): "\(violation)"
    case .peerSilent(let interval): "silence for \(Int(interval.seconds)) s"
    case .misuse(let reason): reason
    }
  }
}

extension SessionError.Violation: CustomStringConvertible {
  public var description: String {
    switch self {
    case .creditExceeded(let id): "more data than the window of stream \(id) allows"
    case .wrongRole(let type): "a frame that isn't for its role to send (\(type))"
    case .streamInUse(let id): "a second OPEN for stream \(id)"
    case .wrongState(let type, let id): "a frame that stream \(id) isn't ready for (\(type))"
    case .afterEnd: "a frame behind the last one"
    case .flooding: "more demands for answers than the line takes"
    }
  }
}

/// What a session wants its owner to know. Plain numbers only: it passes once per frame.
public enum SessionEvent: Equatable, Sendable {
  /// The peer asks for a stream; read `Session.request(of:)`, then accept or refuse it.
  case openRequested(StreamID)
  /// The peer asks for a stream that begins with a device's connection to the site; read `Session.listenRequest(of:)`,
  /// then tell where the site listens, or refuse it.
  case listenRequested(StreamID)
  /// The site listens for the device's connection; read `Session.listenAnswer(of:)`. `opened` or `refused` follows.
  case listening(StreamID)
  case opened(StreamID)
  /// Read `Session.refusal(of:)` before the next event.
  case refused(StreamID)
  /// Payload, in order. The owner takes over the slice's reference and reports `Session.consumed` later.
  case data(StreamID, Slice)
  /// The stream's credit grew.
  case writable(StreamID)
  /// The peer has sent everything.
  case finished(StreamID)
  case reset(StreamID, ResetCode)
  /// Both directions are finished; the identifier is free for another stream.
  case closed(StreamID)
  /// A datagram; the owner takes over the slice's reference.
  case datagram(StreamID, Slice)
  /// Identifier, sequence number and data of an echo message; the owner takes over the slice's reference.
  case echo(StreamID, Slice)
  /// A piece of a message with an Ethernet frame, in order, and whether it goes on in the next one. The owner takes over
  /// the slice's reference and reports `Session.consumed` later.
  case ethernet(StreamID, Slice, isContinued: Bool)
  /// The peer opens no more streams and will end the session.
  case goingAway
  /// The peer has ended its direction, authenticated: nothing was cut off.
  case ended
}

/// Counters of one session, since its start.
public struct SessionCounters: Sendable {
  public var framesIn: UInt64 = 0
  public var framesOut: UInt64 = 0
  public var dataBytesIn: UInt64 = 0
  public var dataBytesOut: UInt64 = 0
  public var dataFramesIn: UInt64 = 0
  public var dataFramesOut: UInt64 = 0
  /// For want of room: unsent, not taken by this end's owner, in part or too large.
  public var datagramsDropped: UInt64 = 0
  public var lateFrames: UInt64 = 0
  public var streamsOpened: UInt64 = 0
  /// By either end.
  public var streamsRefused: UInt64 = 0
  /// Streams that were cut because their readers held the memory that others needed.
  public var slowReadersReset: UInt64 = 0

  public init() {}
}
