import Primitives

/// What joins a device's connection with a stream: what to read and to write next, and when it is over.
///
/// A core without I/O: `SiteLoop` does on a socket what it says, and tells what came of it; so does a simulator. Readiness
/// comes as edges, so that what is ready is remembered here until a call says that it no longer is.
package struct DeviceStream: ~Copyable {
  /// What is to be done with the device's connection now.
  package enum Write: Equatable {
    /// Send what is pending.
    case send
    /// Shut down its sending side: the peer has finished, and everything before that is out.
    case finish
    /// Close it in order: both directions are finished, and everything is out.
    case close
    /// Nothing until something is queued, or the connection is writable.
    case wait
  }

  /// Payload on its way to the device.
  package var pending = SliceQueue(minimumCapacity: 16)
  /// The connection took everything so far.
  package private(set) var isWritable = true
  /// The device has sent something that wasn't read.
  package private(set) var isReadable = false
  /// The end of what the device sends was told: no further edge comes.
  private var isPeerClosed = false
  /// The stream's credit is used up: not read before there is more.
  package private(set) var waitsForCredit = false
  /// The device sent its FIN, which went on.
  package private(set) var deviceFinished = false
  /// The peer sent FIN: the device gets it after `pending`.
  package private(set) var peerFinished = false
  private var finishForwarded = false
  /// The stream is finished in both directions: closed when `pending` is out.
  package private(set) var isDraining = false

  package init() {}

  // MARK: Readiness

  /// What a poller has told.
  ///
  /// - Parameter closed: the device's end, or an error, is there to read.
  package mutating func became(readable: Bool, writable: Bool, closed: Bool) {
    if readable || closed { isReadable = true }
    if closed { isPeerClosed = true }
    if writable { isWritable = true }
  }

  // MARK: From the device

  /// Whether the device's connection should be read once there is a turn for it.
  package var wantsRead: Bool { isReadable && !deviceFinished && !waitsForCredit }

  /// Bytes to read now; `nil` if it has to wait for credit.
  package mutating func nextRead(credit: Int, limit: Int) -> Int? {
    guard credit > 0 else {
      waitsForCredit = true
      return nil
    }
    return min(credit, limit)
  }

  /// The stream's credit has grown.
  package mutating func creditGrew() {
    waitsForCredit = false
  }

  /// A read of `size` bytes has come to `count`.
  package mutating func read(_ count: Int, of size: Int) {
    // A short read has emptied the socket, unless the end was told already: no further edge would come for it.
    if count < size, !isPeerClosed { isReadable = false }
  }

  package mutating func readWouldBlock() {
    isReadable = false
  }

  /// The device has ended its direction: FIN is to go to the peer.
  package mutating func readEnded() {
    deviceFinished = true
  }

  // MARK: To the device

  package var nextWrite: Write {
    if !pending.isEmpty { return isWritable ? .send : .wait }
    if peerFinished, !finishForwarded { return .finish }
    return isDraining ? .close : .wait
  }

  /// Queues payload; takes over the slice's reference.
  package mutating func queue(_ slice: Slice, pool: inout SlabPool) {
    // What has to wait for a slow device must not hold a slab for a few bytes.
    pending.append(isWritable ? slice : pool.compact(slice), pool: &pool)
  }

  package mutating func writeWouldBlock() {
    isWritable = false
  }

  /// The connection's sending side was shut down.
  package mutating func finishWasForwarded() {
    finishForwarded = true
  }

  /// The peer has sent everything.
  package mutating func peerDidFinish() {
    peerFinished = true
  }

  /// Both directions of the stream are finished; what waits for the device still goes there.
  package mutating func drain() {
    isDraining = true
  }
}
