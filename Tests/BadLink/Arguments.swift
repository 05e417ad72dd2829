import Primitives
import Tun

/// What the link is told on its command line: words of the form NAME=VALUE. Probabilities are 0 to 1, for each packet.
struct Arguments {
  /// What is wrong with the command line.
  struct Mistake: Error {
    var text: String
  }

  static let usage = """
    usage: BadLink near=NAME far=NAME [seed=N] [offload=yes|no] [loss=P] [duplicate=P] [corrupt=P]
      [delay=MICROSECONDS] [reorder=P] [late=MICROSECONDS] [rate=MEGABITS] [queue=MICROSECONDS]
    """

  /// The names of its two ends.
  var near = "near"
  var far = "far"
  var seed: UInt64 = 1
  /// Whether super-segments pass whole, and are lost whole.
  var offload = false
  var rates = FaultRates()
  /// How long each packet takes.
  var delay = Interval.zero
  /// How likely a packet comes late, and by how much more it is delayed then: others overtake it.
  var reordering = 0.0
  var lateness = Interval.milliseconds(1)
  /// Megabits a second, and how long a packet waits for its turn before it is dropped; 0 for no limit.
  var rate: Int64 = 0
  var queue = Interval.milliseconds(50)

  init(_ words: [String]) throws(Mistake) {
    for word in words {
      guard let equals = word.firstIndex(of: "=") else { throw Mistake(text: "\(word): no value") }
      let value = String(word[word.index(after: equals)...])
      switch word[..<equals] {
      case "near": near = value
      case "far": far = value
      case "seed": seed = try Self.read(value) { UInt64($0) }
      case "offload": offload = try Self.read(value) { ["yes": true, "no": false][$0] }
      case "loss": rates.loss = try Self.read(value) { Double($0) }
      case "duplicate": rates.duplication = try Self.read(value) { Double($0) }
      case "corrupt": rates.corruption = try Self.read(value) { Double($0) }
      case "delay": delay = .microseconds(try Self.read(value) { Int64($0) })
      case "reorder": reordering = try Self.read(value) { Double($0) }
      case "late": lateness = .microseconds(try Self.read(value) { Int64($0) })
      case "rate": rate = try Self.read(value) { Int64($0) }
      case "queue": queue = .microseconds(try Self.read(value) { Int64($0) })
      default: throw Mistake(text: "\(word): unknown")
      }
    }
  }

  private static func read<Value>(_ text: String, _ parse: (String) -> Value?) throws(Mistake) -> Value {
    guard let value = parse(text) else { throw Mistake(text: "\(text): not understood") }
    return value
  }
}
