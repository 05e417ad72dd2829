import Primitives

/// Where FTP says that a data connection is to go: arguments of commands and replies (RFC 959, RFC 2428).
///
/// Reads strictly: what isn't just as the RFC has it is `nil`, and nobody acts on it.
enum FTPAddress {
  /// The argument of PORT, and what stands in the reply to PASV: `h1,h2,h3,h4,p1,p2` (RFC 959 section 4.1.2).
  static func parsePort(_ bytes: ArraySlice<UInt8>) -> Endpoint? {
    var numbers: [UInt8] = []
    for field in bytes.split(separator: UInt8(ascii: ","), omittingEmptySubsequences: false) {
      guard let number = decimal(field, digits: 3).flatMap(UInt8.init(exactly:)), numbers.count < 6 else { return nil }
      numbers.append(number)
    }
    guard numbers.count == 6 else { return nil }
    return Endpoint(
      IPAddress(numbers[0], numbers[1], numbers[2], numbers[3]), UInt16(numbers[4]) << 8 | UInt16(numbers[5]))
  }

  /// The argument of EPRT: `|1|132.235.1.2|6275|` or `|2|1080::8:800:200C:417A|5282|` (RFC 2428 section 2).
  static func parseExtendedPort(_ bytes: ArraySlice<UInt8>) -> Endpoint? {
    guard let fields = delimited(bytes, count: 3),
      let port = decimal(fields[2], digits: 5).flatMap(UInt16.init(exactly:)),
      let text = String(validating: fields[1], as: UTF8.self), let address = IPAddress(text),
      fields[0].elementsEqual([address.family == .v4 ? UInt8(ascii: "1") : UInt8(ascii: "2")])
    else { return nil }
    return Endpoint(address, port)
  }

  /// What stands in the reply to EPSV: `|||6446|` (RFC 2428 section 3).
  static func parseExtendedPassive(_ bytes: ArraySlice<UInt8>) -> UInt16? {
    // Some servers repeat family and address, which a client has to ignore: the device is the one it talks to.
    guard let fields = delimited(bytes, count: 3) else { return nil }
    return decimal(fields[2], digits: 5).flatMap(UInt16.init(exactly:))
  }

  /// `h1,h2,h3,h4,p1,p2` of an IPv4 endpoint.
  static func portArgument(_ endpoint: Endpoint) -> String {
    let numbers = endpoint.address.bytes + [UInt8(endpoint.port >> 8), UInt8(truncatingIfNeeded: endpoint.port)]
    return numbers.map(String.init).joined(separator: ",")
  }

  /// The command that names an endpoint: PORT for IPv4, which every server knows, EPRT for IPv6. With its line end.
  static func command(_ endpoint: Endpoint) -> [UInt8] {
    let text =
      endpoint.address.family == .v4
      ? "PORT \(portArgument(endpoint))" : "EPRT |2|\(endpoint.address)|\(endpoint.port)|"
    return Array(text.utf8) + [13, 10]
  }

  /// The fields between delimiters, the first byte being the delimiter (RFC 2428 section 2); nothing may follow.
  private static func delimited(_ bytes: ArraySlice<UInt8>, count: Int) -> [ArraySlice<UInt8>]? {
    // RFC 2428 section 2: the delimiter is one of the printable characters, and `|` unless there is a reason.
    guard let delimiter = bytes.first, (33...126).contains(delimiter), bytes.last == delimiter else { return nil }
    let fields = bytes.split(separator: delimiter, omittingEmptySubsequences: false)
    return fields.count == count + 2 ? Array(fields[1...count]) : nil
  }

  /// A decimal number of at most `digits` digits.
  private static func decimal(_ bytes: ArraySlice<UInt8>, digits: Int) -> Int? {
    guard (1...digits).contains(bytes.count), bytes.allSatisfy({ (48...57).contains($0) }) else { return nil }
    return bytes.reduce(0) { $0 * 10 + Int($1 - 48) }
  }
}
