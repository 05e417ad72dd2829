import Foundation
import Testing

/// Two ends and a bad path between them, in network namespaces of their own: `bad-path.sh` has the details.
struct BadPath {
  private let environment: [String: String]
  private static let script = Place.root.path + "/Tests/Scenarios/bad-path.sh"

  static let isPossible = Place.hasBinaries("StackPeer", "BadLink")
  static let comment: Comment = "StackPeer and BadLink aren't built in release mode: `make test` does that first"

  /// Builds lanes, and takes them down again.
  static func run(lanes: [String], _ body: (BadPath) throws -> Void) throws {
    let prefix = "rvt\(getpid())"
    let state = "/tmp/\(prefix).path"
    try FileManager.default.createDirectory(atPath: state, withIntermediateDirectories: true)
    let path = BadPath(
      environment: ["SCENARIO_STATE": state, "RELAYVPN_DEMO_PREFIX": prefix, "RELAYVPN_BIN": Place.binaries])
    let guardian = try Guardian(script, path.environment)
    defer { guardian.end() }
    try path.require("for lane in \(lanes.joined(separator: " ")); do lane_up $lane || exit 1; done")
    try body(path)
  }

  @discardableResult
  func require(_ script: String, limit: Int = 300) throws -> Output {
    let output = try Shell.run(["bash", Self.script, "run", script], environment: environment, limit: limit)
    try #require(output.status == 0, "\(script): \(output)")
    return output
  }

  /// Runs a script of transfers, and says what was reported of them: for each lane in order.
  func transfers(_ script: String, limit: Int = 300) throws -> [String: [Transfer]] {
    var ends: [String: [End]] = [:]
    let output = try require(script, limit: limit)
    for line in output.text.split(separator: "\n") {
      let words = line.split(separator: " ", maxSplits: 2)
      try #require(words.count == 3, "\(line)\nin \(output)")
      let end = try? JSONDecoder().decode(End.self, from: Data(words[2].utf8))
      ends[words[0] + " " + words[1], default: []].append(try #require(end, "\(line)\nin \(output)"))
    }
    var transfers: [String: [Transfer]] = [:]
    for lane in Set(ends.keys.map { String($0.prefix { $0 != " " }) }) {
      transfers[lane] = zip(ends["\(lane) near"] ?? [], ends["\(lane) far"] ?? []).map(Transfer.init)
    }
    return transfers
  }

  /// What one end reports.
  struct End: Decodable {
    var outcome: String
    var bytes: Int
    var seconds: Double
    var sentSHA256: String
    var receivedSHA256: String
    // Of the stack only.
    var retransmits: Int?
    var timeouts: Int?
    var probes: Int?
    var spurious: Int?
    var dropped: Int?
  }

  /// A connection that both ends have told of.
  struct Transfer {
    var near: End
    var far: End

    init(near: End, far: End) {
      self.near = near
      self.far = far
    }

    /// Whether it ended in order with every byte where it belongs.
    var isWhole: Bool {
      near.outcome == "closed" && far.outcome == "closed" && near.sentSHA256 == far.receivedSHA256
        && near.receivedSHA256 == far.sentSHA256
    }

    /// As the end saw it that received.
    func megabits(to receiver: KeyPath<Transfer, End>) -> Double {
      let end = self[keyPath: receiver]
      return end.seconds > 0 ? Double(end.bytes) * 8 / 1_000_000 / end.seconds : 0
    }
  }
}

extension [Double] {
  var median: Double {
    let sorted = self.sorted()
    guard !sorted.isEmpty else { return .nan }
    return (sorted[(count - 1) / 2] + sorted[count / 2]) / 2
  }
}
