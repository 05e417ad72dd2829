internal import FoundationEssentials
internal import Glibc
public import Kernel

/// What passes on a stream that asks a site for a capture, before its packets.
///
/// The LinkManager sends one message, its size in 4 bytes and a JSON object of strings: what `CaptureOptions` asks for.
/// The site answers with a pcapng stream, or with a message of the same form, whose `code` and `message` say why not.
/// The two differ in their first byte.
public enum RemoteCapture {
  /// Bytes of a message.
  public static let sizeLimit = 64 << 10
  /// Seconds in which a LinkManager has to say what it wants.
  static let requestTimeout = 5

  public static func message(_ fields: [String: String]) -> [UInt8] {
    guard let data = try? JSONEncoder().encode(fields), data.count <= sizeLimit else {
      return [0, 0, 0, 2, 0x7B, 0x7D]
    }
    let size = UInt32(data.count)
    return (0..<4).map { UInt8(truncatingIfNeeded: size >> UInt32(24 - 8 * $0)) } + Array(data)
  }

  /// Reads a message that is there in full; `nil` if it isn't one.
  public static func fields(in message: [UInt8]) -> [String: String]? {
    guard let size = size(of: message), message.count == 4 + size else { return nil }
    return try? JSONDecoder().decode([String: String].self, from: Data(message[4...]))
  }

  /// Bytes behind the first four; `nil` if they aren't there, or say too many.
  public static func size(of message: [UInt8]) -> Int? {
    guard message.count >= 4 else { return nil }
    let size = message[..<4].reduce(0) { $0 << 8 | Int($1) }
    return size <= sizeLimit ? size : nil
  }

  /// Reads a request from the site's end of a stream; `nil` if none came in time.
  public static func request(from socket: borrowing OwnedDescriptor) -> [String: String]? {
    guard (try? UnixSocket.setBlocking(socket, timeoutSeconds: requestTimeout)) != nil,
      let head = read(4, from: socket), let size = size(of: head), let body = read(size, from: socket)
    else { return nil }
    return fields(in: head + body)
  }

  private static func read(_ count: Int, from socket: borrowing OwnedDescriptor) -> [UInt8]? {
    var bytes = [UInt8](repeating: 0, count: count)
    var start = 0
    while start < count {
      var span = bytes.mutableSpan
      var rest = span._mutatingExtracting(start..<count)
      guard case .moved(let moved) = try? socket.read(into: &rest) else { return nil }
      start += moved
    }
    return bytes
  }
}
