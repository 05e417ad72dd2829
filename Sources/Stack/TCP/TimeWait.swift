import Packet
import Primitives

/// Connections that have ended and whose last segments may still be on their way (RFC 9293 section 3.6.1).
///
/// All stay equally long, so that the table is a queue: the oldest is the next to go.
struct TimeWaitTable {
  struct Entry {
    /// SND.NXT and RCV.NXT at the end.
    var sequence: SequenceNumber
    var next: SequenceNumber
    /// The clock offset and the peer's last timestamp, if timestamps were in use.
    var timestamps: (offset: UInt32, recent: UInt32)?
    var number: UInt64
  }

  /// What to do with a segment for a remembered connection.
  enum Verdict {
    case ignore
    /// Repeat the last acknowledgement: ours may have been lost.
    case acknowledge(Entry)
    /// A new connection may take the place (RFC 9293 section 3.10.7.4, RFC 6191); forgotten already.
    case reopen
  }

  private var entries: [FiveTuple: Entry] = [:]
  private var order = RingQueue<(tuple: FiveTuple, number: UInt64, deadline: Instant)>()
  private var lastNumber: UInt64 = 0

  var count: Int { entries.count }

  var nextDeadline: Instant? { order.first?.deadline }

  mutating func insert(_ connection: borrowing TCPConnection, limit: Int, deadline: Instant) {
    guard limit > 0 else { return }
    while order.count >= limit, let oldest = order.popFirst() { forget(oldest.tuple, oldest.number) }
    lastNumber &+= 1
    entries[connection.tuple] = Entry(
      sequence: connection.sender.nxt, next: connection.receiver.next,
      timestamps: connection.hasTimestamps ? (connection.timestampOffset, connection.recentTimestamp) : nil,
      number: lastNumber)
    order.append((connection.tuple, lastNumber, deadline))
  }

  mutating func expire(now: Instant) {
    while let oldest = order.first, oldest.deadline <= now {
      _ = order.popFirst()
      forget(oldest.tuple, oldest.number)
    }
  }

  /// Gives back memory once most entries are gone.
  mutating func trim() -> Bool {
    [entries.trim(), order.trim()].contains(true)
  }

  /// `nil` when the connection isn't remembered.
  mutating func receive(_ header: TCPHeader, payloadCount: Int, tuple: FiveTuple) -> Verdict? {
    guard !entries.isEmpty, var entry = entries[tuple] else { return nil }
    // RFC 1337: a stray RST must not end TIME-WAIT early.
    if header.flags.contains(.rst) { return .ignore }
    if header.flags.contains(.syn), !header.flags.contains(.ack) {
      let isNewer =
        if let recent = entry.timestamps?.recent, let offered = header.options.timestamps?.value {
          Int32(bitPattern: offered &- recent) > 0 || SequenceNumber(header.sequence) > entry.next
        } else {
          SequenceNumber(header.sequence) > entry.next
        }
      if isNewer {
        entries[tuple] = nil
        return .reopen
      }
    }
    // An acknowledgement is never acknowledged: two ends would go on for ever.
    guard payloadCount > 0 || header.flags.contains(.fin) || header.flags.contains(.syn) else { return .ignore }
    if let value = header.options.timestamps?.value { entry.timestamps?.recent = value }
    return .acknowledge(entry)
  }

  mutating func forget(_ tuple: FiveTuple) {
    entries[tuple] = nil
  }

  /// A tuple that was reopened may have been remembered anew since.
  private mutating func forget(_ tuple: FiveTuple, _ number: UInt64) {
    if entries[tuple]?.number == number { entries[tuple] = nil }
  }
}
