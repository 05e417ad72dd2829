import Primitives

/// What a LISTEN frame asks for: one connection from the device at the far end of an FTP control connection.
///
/// ```
/// +---------------------------+
/// | stream of the control     |
/// | connection, 4 bytes       |
/// +---------------------------+
/// ```
///
/// Agent, device and permission follow from that stream, which the site has opened itself.
public struct ListenRequest: Equatable, Sendable {
  public var control: StreamID

  public init(control: StreamID) {
    self.control = control
  }

  public init(parsing bytes: Span<UInt8>) throws(FrameError) {
    guard bytes.count == 4 else { throw .malformed(.listen) }
    control = StreamID(rawValue: bytes.bigEndian32(at: 0))
  }

  public var bytes: [UInt8] {
    (0..<4).map { UInt8(truncatingIfNeeded: control.rawValue >> UInt32(24 - 8 * $0)) }
  }
}

/// What a LISTENING frame says: where the site waits for the device's connection, as the device has to be told.
///
/// ```
/// +------+---------------+
/// | port | address       |
/// |  2   | 4 or 16       |
/// +------+---------------+
/// ```
public struct ListenAnswer: Equatable, Sendable {
  public var endpoint: Endpoint

  public init(endpoint: Endpoint) {
    self.endpoint = endpoint
  }

  public init(parsing bytes: Span<UInt8>) throws(FrameError) {
    guard bytes.count > 2, let address = IPAddress(bytes: bytes.extracting(2..<bytes.count)) else {
      throw .malformed(.listening)
    }
    endpoint = Endpoint(address, UInt16(bytes[0]) << 8 | UInt16(bytes[1]))
    guard endpoint.port != 0, !address.isUnspecified else { throw .malformed(.listening) }
  }

  public var bytes: [UInt8] {
    [UInt8(endpoint.port >> 8), UInt8(truncatingIfNeeded: endpoint.port)] + endpoint.address.bytes
  }
}
