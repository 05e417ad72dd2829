/// Finds control messages in a stream of bytes, however it is split.
///
/// Holds at most one unfinished message plus what was received in one go, if all messages are taken after each
/// `receive`.
public struct MessageDecoder: Sendable {
  private static let headerSize = 4

  private var buffer: [UInt8] = []
  private var start = 0
  private var failure: ControlError?

  public init() {}

  /// Bytes of an unfinished message.
  public var buffered: Int { buffer.count - start }

  /// Takes bytes in. A message that is too long is refused as soon as its size is there, not when it has come.
  public mutating func receive(_ bytes: Span<UInt8>) throws(ControlError) {
    if let failure { throw failure }
    buffer.removeFirst(start)
    start = 0
    buffer.reserveCapacity(buffer.count + bytes.count)
    for index in bytes.indices { buffer.append(bytes[index]) }
    _ = try nextSize()
  }

  /// The next message; `nil` until more bytes have come.
  ///
  /// A message that can't be understood is thrown as an error and skipped.
  public mutating func next() throws(ControlError) -> ControlEnvelope? {
    if let failure { throw failure }
    // Whoever is silent from here on holds no memory for a list of agents that it once sent.
    if buffered == 0 { (buffer, start) = ([], 0) }
    guard let size = try nextSize(), buffered >= Self.headerSize + size else { return nil }
    let first = start + Self.headerSize
    let text = buffer[first..<(first + size)]
    start = first + size
    if let heartbeat = Heartbeat.decode(text) { return heartbeat }
    do throws(JSONError) {
      return try JSON.decode(ControlEnvelope.self, from: Array(text))
    } catch {
      throw .malformed(field: error.field, reason: error.reason)
    }
  }

  /// The size of the message that comes next; `nil` while its header is incomplete.
  private mutating func nextSize() throws(ControlError) -> Int? {
    guard buffered >= Self.headerSize else { return nil }
    var size = 0
    for index in 0..<Self.headerSize { size = size << 8 | Int(buffer[start + index]) }
    guard size <= ControlProtocol.messageLimit else {
      let error = ControlError.tooLong(size)
      failure = error
      buffer = []
      start = 0
      throw error
    }
    return size
  }
}
