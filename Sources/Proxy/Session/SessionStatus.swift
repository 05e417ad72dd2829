import Primitives

/// What a running session tells about itself, for status displays. A snapshot.
public struct SessionStatus: Sendable {
  /// When the figures were true.
  public var time = Instant.zero
  public var counters = SessionCounters()
  public var recordsSealed: UInt64 = 0
  public var recordsOpened: UInt64 = 0
  public var bytesSealed: UInt64 = 0
  public var bytesOpened: UInt64 = 0
  public var streams = 0
  public var roundTrip: Interval?
  /// Bytes of slab memory that the session's thread has in use.
  public var memoryInUse = 0
  /// Reads and writes of payload sockets at this end, and their bytes: mean sizes tell whether super-segments pass.
  public var payloadReads: UInt64 = 0
  public var payloadReadBytes: UInt64 = 0
  public var payloadWrites: UInt64 = 0
  public var payloadWriteBytes: UInt64 = 0
  public var refusals: [String: UInt64] = [:]
  /// Flows that are open, by agent.
  public var flowsByAgent: [String: Int] = [:]

  public init() {}
}

extension Session {
  /// Fills in what the session itself knows.
  public func describe(into status: inout SessionStatus) {
    status.counters = counters
    status.recordsSealed = recordsSealed
    status.recordsOpened = recordsOpened
    status.bytesSealed = bytesSealed
    status.bytesOpened = bytesOpened
    status.streams = streamCount
    status.roundTrip = roundTrip
  }
}
