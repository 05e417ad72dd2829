import Control
import Kernel
import Primitives

/// Finds control messages in what comes over the outer TLS.
struct MessageReader {
  private static let readSize = 4096
  private var decoder = MessageDecoder()

  /// Whether bytes are left behind the last message.
  var hasRest: Bool { decoder.buffered > 0 }

  /// Blocks until the next message.
  mutating func receive(
    from stream: inout TLSStream, until deadline: Instant, cancel: Cancellation? = nil
  ) throws(GateError) -> ControlEnvelope {
    var buffer = [UInt8](repeating: 0, count: Self.readSize)
    while true {
      if let envelope = try next() { return envelope }
      var bytes = buffer.mutableSpan
      guard let count = try stream.read(into: &bytes, until: deadline, cancel: cancel) else { throw .closed }
      try take(buffer.span.extracting(0..<count))
    }
  }

  /// Says who we are and waits for the answer to that.
  mutating func greet(
    over stream: inout TLSStream, as hello: ControlMessage.Hello, until deadline: Instant,
    cancel: Cancellation? = nil
  ) throws(GateError) -> ControlMessage.Welcome {
    try stream.send(.hello(hello), until: deadline, cancel: cancel)
    switch try receive(from: &stream, until: deadline, cancel: cancel).message {
    case .welcome(let welcome): return welcome
    case .failure(let failure): throw .refused(failure)
    case let message: throw .unexpected(message.type)
    }
  }

  /// Reads what is there without waiting; `false` when nothing is.
  mutating func fill(from stream: inout TLSStream) throws(GateError) -> Bool {
    var buffer = [UInt8](repeating: 0, count: Self.readSize)
    var bytes = buffer.mutableSpan
    switch try stream.readSome(into: &bytes) {
    case .bytes(let count):
      try take(buffer.span.extracting(0..<count))
      return true
    case .closedByPeer: throw .closed
    case .wantsRead, .wantsWrite: return false
    }
  }

  /// The next message that has arrived in full. Types of later versions are passed over.
  mutating func next() throws(GateError) -> ControlEnvelope? {
    do throws(ControlError) {
      while let envelope = try decoder.next() {
        // A type that a later version has added.
        if case .unknown = envelope.message { continue }
        return envelope
      }
      return nil
    } catch {
      throw .malformed(error)
    }
  }

  private mutating func take(_ bytes: Span<UInt8>) throws(GateError) {
    do throws(ControlError) {
      try decoder.receive(bytes)
    } catch {
      throw .malformed(error)
    }
  }
}

extension TLSStream {
  mutating func send(
    _ message: ControlMessage, request: UInt64? = nil, until deadline: Instant, cancel: Cancellation? = nil
  ) throws(GateError) {
    let bytes = try ControlEnvelope(message, request: request).bytes()
    try write(bytes.span, until: deadline, cancel: cancel)
  }
}

extension ControlEnvelope {
  /// The bytes on the wire.
  func bytes() throws(GateError) -> [UInt8] {
    do throws(ControlError) {
      return try encoded()
    } catch {
      throw .malformed(error)
    }
  }
}
