import Primitives
import Stack

/// What the peer is told on its command line: words of the form NAME=VALUE.
struct Arguments {
  enum Role: String { case listen, connect }
  enum Task: String { case source, sink, echo }

  /// What is wrong with the command line.
  struct Mistake: Error {
    var text: String
  }

  static let usage = """
    usage: StackPeer device=NAME local=ADDRESS,PORT remote=ADDRESS,PORT [role=listen|connect] [task=source|sink|echo]
      [bytes=N] [seed=N] [mtu=N] [offload=yes|no] [congestion=none|reno] [window=N] [limit=SECONDS]
    """

  var device = "stack%d"
  var role = Role.connect
  var task = Task.source
  var local = Endpoint(IPAddress(10, 0, 0, 2), 7000)
  var remote = Endpoint(IPAddress(10, 0, 0, 1), 7000)
  /// Bytes that a source sends.
  var bytes = 1 << 20
  var seed: UInt64 = 1
  var mtu = 1500
  var offload = true
  var congestion = StackConfiguration.Congestion.none
  /// The receive window, and what is handed to the stack ahead of acknowledgements.
  var window = 4 << 20
  /// Seconds after which it gives up.
  var limit: Int64 = 120

  init(_ words: [String]) throws(Mistake) {
    for word in words {
      guard let equals = word.firstIndex(of: "=") else { throw Mistake(text: "\(word): no value") }
      let value = String(word[word.index(after: equals)...])
      switch word[..<equals] {
      case "device": device = value
      case "role": role = try Self.read(value, Role.init(rawValue:))
      case "task": task = try Self.read(value, Task.init(rawValue:))
      case "local": local = try Self.read(value, Self.endpoint)
      case "remote": remote = try Self.read(value, Self.endpoint)
      case "bytes": bytes = try Self.read(value) { Int($0) }
      case "seed": seed = try Self.read(value) { UInt64($0) }
      case "mtu": mtu = try Self.read(value) { Int($0) }
      case "offload": offload = try Self.read(value) { ["yes": true, "no": false][$0] }
      case "congestion": congestion = try Self.read(value) { ["none": .none, "reno": .reno][$0] }
      case "window": window = try Self.read(value) { Int($0) }
      case "limit": limit = try Self.read(value) { Int64($0) }
      default: throw Mistake(text: "\(word): unknown")
      }
    }
  }

  private static func read<Value>(_ text: String, _ parse: (String) -> Value?) throws(Mistake) -> Value {
    guard let value = parse(text) else { throw Mistake(text: "\(text): not understood") }
    return value
  }

  private static func endpoint(_ text: String) -> Endpoint? {
    let parts = text.split(separator: ",")
    guard parts.count == 2, let address = IPAddress(String(parts[0])), let port = UInt16(parts[1]) else { return nil }
    return Endpoint(address, port)
  }
}
