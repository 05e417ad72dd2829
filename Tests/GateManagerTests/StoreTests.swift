import Access
import Control
import Crypto
import Foundation
import Kernel
import Logging
import Primitives
import Proxy
import Service
import Testing

@testable import GateManager

/// What a GateManager keeps, as version 0.1 wrote it, and as it can't be read any more.
@Suite(.serialized, .timeLimit(.minutes(1))) struct StoreTests {
  private static let golden = URL(filePath: "\(#filePath)").deletingLastPathComponent().deletingLastPathComponent()
    .appending(path: "Golden/0.1")

  private final class Copy {
    let gate: GateDirectory

    init() throws {
      let path = "/tmp/relayvpn-store-\(Hex.encode(try Random.bytes(8)))"
      try FileManager.default.copyItem(at: StoreTests.golden.appending(path: "gatemanager"), to: URL(filePath: path))
      gate = GateDirectory(path)
    }

    deinit { try? FileManager.default.removeItem(atPath: gate.path) }

    func url(_ file: String) -> URL { URL(filePath: "\(gate.path)/\(file)") }

    func write(_ text: String, to file: String) throws { try Data(text.utf8).write(to: url(file)) }

    func change(_ field: String, in file: String, to value: Any?) throws {
      var root = try #require(
        try JSONSerialization.jsonObject(with: Data(contentsOf: url(file))) as? [String: Any])
      if let dot = field.firstIndex(of: ".") {
        let outer = String(field[..<dot])
        var inner = root[outer] as? [String: Any] ?? [:]
        inner[String(field[field.index(after: dot)...])] = value
        root[outer] = inner
      } else {
        root[field] = value
      }
      try JSONSerialization.data(withJSONObject: root, options: [.prettyPrinted, .sortedKeys]).write(to: url(file))
    }
  }

  private func failure(_ body: () throws(StoreError) -> Void) -> StoreError? {
    do throws(StoreError) {
      try body()
      return nil
    } catch {
      return error
    }
  }

  @Test func whatVersion01HasWritten() throws {
    let store = try Copy()
    let keys = try store.gate.loadKeys()
    #expect(keys.gate == "gm.example" && keys.server.certificate.isIssued(by: keys.authority.certificate))
    let (users, sites, problems) = store.gate.records()
    #expect(problems.isEmpty && users.map(\.name) == ["ann"] && sites.map(\.name) == ["plant-7", "plant-8"])
    // It goes into the store, and the files are kept.
    let state = try store.gate.openStore(keys).state
    let membership = Membership(state, now: 0)
    #expect(membership.siteKeys.keys.sorted() == ["plant-7"] && membership.identities.count == 2)
    let ann = try #require(state.accounts["ann"])
    #expect(try PasswordHash(ann.password)?.verify("Correct-Horse-7") == true)
    #expect(ann.pcs.map(\.name) == ["laptop"] && ann.domain == .root && ann.role == .linkUser)
    #expect(state.sites["plant-8"]?.enrolment?.expires == 1_795_651_474)
    // Who had access has it still, and nothing is taken twice.
    let plc = AgentDescription(name: "plc", target: .device(.v4), tcp: [.all])
    let allowed = try Authorisation.decide(
      state, account: "ann", site: "plant-7", announced: [plc], wanted: nil, reason: nil, now: 0)
    #expect(allowed.agents.map(\.description) == [plc] && allowed.until == nil)
    #expect(try store.gate.openStore(keys).state == state)
    for file in ["users/ann.json", "sites/plant-7.json", "sites/plant-8.json"] {
      let kept = file.replacing("/", with: ".imported/")
      #expect(
        try Data(contentsOf: store.url(kept))
          == Data(contentsOf: Self.golden.appending(path: "gatemanager").appending(path: file)))
    }
    let report = try JSONDecoder().decode(
      StatusReport.self, from: Data(contentsOf: Self.golden.appending(path: "status/gatemanager.json")))
    #expect(report.gate == "gm.example" && !report.description.isEmpty)
  }

  @Test func eachFieldOfARecord() throws {
    let users: [(String, [Any?])] = [
      ("name", [nil, 5, "bob"]),
      ("password", [nil, 5, "plain", "scrypt$1$1$1$AA==$AA==", "scrypt$99999999$8$1$AA==$AA=="]),
      ("created", [nil, "then"]), ("pcs", [nil, 5, ["x"]]),
    ]
    let sites: [(String, [Any?])] = [
      ("name", [nil, 5, "plant-9"]), ("created", [nil, "then"]), ("key", [5, "sha256:1"]), ("enrolled", ["x"]),
      ("enrolment", [5]), ("enrolment.secretHash", [nil, 5, "zz", "00"]), ("enrolment.expires", [nil, "x"]),
    ]
    for (file, fields, word) in [
      ("users/ann.json", users, "user add ann"), ("sites/plant-8.json", sites, "site add plant-8"),
    ] {
      for (field, values) in fields {
        for value in values {
          let store = try Copy()
          try store.change(field, in: file, to: value)
          let (_, _, problems) = store.gate.records()
          #expect(problems.count == 1, "\(field) = \(value.map { "\($0)" } ?? "none")")
          let text = problems.first.map { "\($0)" } ?? ""
          #expect(text.hasPrefix("\(store.gate.path)/\(file):") && text.contains("field \"\(field)"), "\(text)")
          #expect(
            text.contains("restore it from a backup, or remove the file and run `gatemanager \(word)`"), "\(text)")
          #expect(problems.first?.exitCode == .configuration)
        }
      }
    }
  }

  @Test func filesOfTheService() throws {
    for (file, reason) in [
      ("gate.json", "restore it from a backup"), ("ca.key", "holds no private key in PEM: restore it"),
      ("ca.pem", "holds no certificate in PEM: restore it"), ("server.key", "holds no private key in PEM"),
      ("server.pem", "holds no certificate in PEM"), ("grant.key", "holds no private key in PEM"),
    ] {
      let store = try Copy()
      for text in ["", "garbage\n", "{\"name\": 5}", "\u{0}\u{1}"] {
        try store.write(text, to: file)
        let error = failure { () throws(StoreError) in _ = try store.gate.loadKeys() }
        #expect(error?.exitCode == .configuration)
        #expect("\(error!)".hasPrefix("\(store.gate.path)/\(file)") && "\(error!)".contains(reason), "\(error!)")
      }
      try FileManager.default.removeItem(at: store.url(file))
      try FileManager.default.createDirectory(at: store.url(file), withIntermediateDirectories: false)
      let unreadable = failure { () throws(StoreError) in _ = try store.gate.loadKeys() }
      #expect(unreadable?.exitCode == .system && "\(unreadable!)" == "read \(store.gate.path)/\(file): Is a directory")
    }
    let mixed = try Copy()
    try FileManager.default.removeItem(at: mixed.url("server.pem"))
    try FileManager.default.copyItem(at: mixed.url("ca.pem"), to: mixed.url("server.pem"))
    let other = failure { () throws(StoreError) in _ = try mixed.gate.loadKeys() }
    #expect("\(other!)".contains("server.pem: is for another key than server.key") && other?.exitCode == .configuration)
    let later = try Copy()
    for file in ["gate.json", "users/ann.json", "sites/plant-7.json"] { try later.change("version", in: file, to: 2) }
    let error = failure { () throws(StoreError) in _ = try later.gate.loadKeys() }
    #expect(
      "\(error!)".contains("a later version of this program has written") && "\(error!)".contains("update this program")
    )
    #expect(later.gate.records().problems.count == 2)
  }

  /// Who would be left behind by a file that can't be read, isn't: nothing is taken until it can be.
  @Test func aBrokenRecordKeepsAllWhereTheyAre() throws {
    let store = try Copy()
    let keys = try store.gate.loadKeys()
    let whole = try Data(contentsOf: store.url("users/ann.json"))
    try store.write("{\n\"name\": \"ann\",\n", to: "users/ann.json")
    let error = failure { () throws(StoreError) in _ = try store.gate.openStore(keys) }
    #expect("\(error!)".contains("ann.json:3: ends where") && error?.exitCode == .configuration)
    #expect(throws: StoreError.self) {
      _ = try GateService(
        directory: store.gate, options: FrontOptions(listen: Endpoint(IPAddress(127, 0, 0, 1), 0)),
        logger: Logger(label: "x"))
    }
    try whole.write(to: store.url("users/ann.json"))
    #expect(try store.gate.openStore(keys).state.accounts.count == 1)
  }

  /// What another process changes takes effect, and what it can't do is told.
  @Test func anotherProcessMayChangeTheStore() throws {
    let fixture = try GateFixture()
    for user in ["ann", "bob"] { try fixture.addUser(user) }
    let (ann, bob) = (try fixture.login("ann"), try fixture.login("bob"))
    let link = try TestPeer(fixture, .linkManager, ann)
    let other = try TestPeer(fixture, .linkManager, bob)
    #expect(fixture.eventually { $0.users.count == 2 })
    let keys = try fixture.directory.loadKeys()
    let operations = Operations(
      store: try fixture.directory.openStore(keys), gateKey: keys.server.keyHash)
    let began = ContinuousClock.now
    _ = try operations.perform(.removeAccount("bob"), by: .host, time: Clock.unixMicroseconds)
    _ = try other.disconnected()
    #expect(ContinuousClock.now - began < .seconds(2))
    #expect(fixture.eventually { $0.users.map(\.name) == ["ann"] && $0.storeProblems.isEmpty })
    other.stop()
    link.stop()
  }
}
