import Control
import Crypto
import Foundation
import Primitives
import Proxy
import Service
import Testing

@testable import LinkManager
@testable import SiteManager

/// What LinkManager and SiteManager keep, as version 0.1 wrote it, and as it can't be read any more.
@Suite struct StateFilesTests {
  static let golden = URL(filePath: "\(#filePath)").deletingLastPathComponent().deletingLastPathComponent()
    .appending(path: "Golden/0.1")

  /// A copy of a host's directory.
  private final class State {
    let directory: StateDirectory

    init(_ host: String) throws {
      let path = "/tmp/relayvpn-state-\(Hex.encode(try Random.bytes(8)))"
      try FileManager.default.copyItem(at: StateFilesTests.golden.appending(path: host), to: URL(filePath: path))
      directory = StateDirectory(path)
    }

    deinit { try? FileManager.default.removeItem(atPath: directory.path) }

    func text(_ file: String) throws -> String {
      try String(contentsOf: URL(filePath: directory.path(of: file)), encoding: .utf8)
    }

    func write(_ text: String, to file: String) throws {
      try text.write(to: URL(filePath: directory.path(of: file)), atomically: true, encoding: .utf8)
    }

    /// Puts another value, or none, in the place of a field.
    func change(_ field: String, in file: String, to value: Any?) throws {
      let url = URL(filePath: directory.path(of: file))
      let root = try #require(try JSONSerialization.jsonObject(with: Data(contentsOf: url)) as? [String: Any])
      let changed = Self.setting(field.split(separator: ".").map(String.init)[...], in: root, to: value)
      try JSONSerialization.data(withJSONObject: changed, options: [.prettyPrinted, .sortedKeys]).write(to: url)
    }

    private static func setting(_ path: ArraySlice<String>, in object: [String: Any], to value: Any?) -> [String: Any] {
      var object = object
      guard let first = path.first else { return object }
      object[first] =
        path.count == 1
        ? value : setting(path.dropFirst(), in: object[first] as? [String: Any] ?? [:], to: value)
      return object
    }
  }

  private func failure(_ body: () throws -> Void) -> CommandFailure? {
    do {
      try body()
      return nil
    } catch {
      return error as? CommandFailure
    }
  }

  // MARK: As it was

  @Test func whatVersion01HasWritten() throws {
    let link = try State("linkmanager")
    let account = try #require(try Account.load(from: link.directory))
    #expect(account.user == "ann" && account.pc == "laptop" && account.expires == nil)
    let credentials = try account.credentials(in: link.directory)
    #expect(credentials.certificate.commonName == "ann")
    let server = try account.gate.server()
    #expect("\(server.address)" == "127.0.0.1:18443" && server.proxy != nil)
    let known = try KnownSites.load(from: link.directory)
    #expect(known.sites[account.gate.key.description]?.keys.sorted() == ["plant-7"])
    let wanted = try WantedSites.load(from: link.directory)
    #expect(wanted.sites["plant-7"]?.agents == ["plc"] && wanted.sites["plant-8"]?.agents == nil)
    #expect(wanted.areCurrent(for: account, now: 1_795_565_100, window: .seconds(600)))

    let site = try State("sitemanager")
    let binding = try #require(try SiteBinding.load(from: site.directory))
    #expect(binding.name == "plant-7" && binding.gate.key == account.gate.key)
    let (key, own) = try binding.credentials(in: site.directory)
    #expect(own.certificate.keyHash == key.keyHash)
    #expect(known.sites[account.gate.key.description]?["plant-7"] == key.keyHash)
    #expect(try AgentsFile.load(site.directory.path(of: "agents.yaml")).map(\.name) == ["plc", "hall"])
  }

  /// What this version writes reads as what 0.1 wrote, for as long as nothing is added to it.
  @Test func isWrittenInTheSameForm() throws {
    let link = try State("linkmanager")
    for (file, save) in [
      (Account.fileName, { try $0.save(Account.load(from: $0)!, as: $1) }),
      (KnownSites.fileName, { try $0.save(KnownSites.load(from: $0), as: $1) }),
      (WantedSites.fileName, { try $0.save(WantedSites.load(from: $0), as: $1) }),
    ] as [(String, (StateDirectory, String) throws -> Void)] {
      let before = try link.text(file)
      try save(link.directory, file)
      #expect(try link.text(file) == before, "\(file)")
    }
    let site = try State("sitemanager")
    let before = try site.text(SiteBinding.fileName)
    try #require(try SiteBinding.load(from: site.directory)).save(in: site.directory)
    #expect(try site.text(SiteBinding.fileName) == before)
  }

  @Test func filesWithoutAVersionAreOfTheFirst() throws {
    let link = try State("linkmanager")
    try link.change("version", in: Account.fileName, to: nil)
    #expect(try Account.load(from: link.directory)?.user == "ann")
  }

  // MARK: As it can't be read

  /// Fields, and what is no value of each. All but the optional ones may not be missing.
  private static var gateFields: [(field: String, wrong: [Any], isOptional: Bool)] {
    [
      ("gate", [7, "x"], false), ("gate.address", [1, "no port", ":", "a:b:c:1"], false),
      ("gate.key", [true, "sha256:12", ""], false), ("gate.certificate", [[1], "", "-----BEGIN"], false),
      ("gate.caCertificate", [0, "none"], false), ("gate.proxy", [5, "ftp://x", "http://"], true),
    ]
  }

  private func expectEachFieldChecked(
    _ host: String, _ file: String, _ fields: [(field: String, wrong: [Any], isOptional: Bool)], mending: String,
    _ load: (StateDirectory) throws -> Void
  ) throws {
    for (field, wrong, isOptional) in fields {
      for value in wrong.map(Optional.some) + (isOptional ? [] : [nil]) {
        let state = try State(host)
        try state.change(field, in: file, to: value)
        let problem = failure { try load(state.directory) }
        let text = problem?.description ?? "nothing"
        let what = "\(field) = \(value.map { "\($0)" } ?? "none"): \(text)"
        #expect(problem?.exitCode == .configuration, "\(what)")
        #expect(text.hasPrefix(state.directory.path(of: file)), "\(what)")
        #expect(text.contains("field \"\(field)\(value == nil ? "\" is missing" : "")"), "\(what)")
        #expect(text.contains(mending), "\(what)")
        // The line is that of the field, or of the object that it is missing in.
        guard value != nil, let line = problem?.description.dropFirst(state.directory.path(of: file).count + 1),
          let number = Int(line.prefix { $0.isNumber })
        else { continue }
        let lines = try state.text(file).split(separator: "\n", omittingEmptySubsequences: false)
        #expect(lines[number - 1].contains("\"\(field.split(separator: ".").last!)\""), "\(what)")
      }
    }
  }

  @Test func eachFieldOfAnAccount() throws {
    let own: [(field: String, wrong: [Any], isOptional: Bool)] = [
      ("user", [5, ["a"]], false), ("pc", [false], false), ("expires", ["tomorrow"], true),
    ]
    try expectEachFieldChecked(
      "linkmanager", Account.fileName, own + Self.gateFields, mending: "`linkmanager login` again"
    ) { _ = try Account.load(from: $0) }
  }

  @Test func eachFieldOfABinding() throws {
    let own: [(field: String, wrong: [Any], isOptional: Bool)] = [
      ("name", [5], false), ("grantKey", [1, "", "AAAA"], false),
    ]
    try expectEachFieldChecked(
      "sitemanager", SiteBinding.fileName, own + Self.gateFields, mending: "`sitemanager enroll --replace`"
    ) { _ = try SiteBinding.load(from: $0) }
  }

  @Test func eachFieldOfKnownAndWantedSites() throws {
    let known: [(field: String, wrong: [Any], isOptional: Bool)] = [
      ("sites", [1], false), ("sites.sha256:00", [["plant": "sha256:1"], 5], true),
    ]
    for (field, wrong, _) in known {
      for value in wrong {
        let state = try State("linkmanager")
        try state.change(field, in: KnownSites.fileName, to: value)
        let problem = failure { _ = try KnownSites.load(from: state.directory) }
        #expect(problem?.exitCode == .configuration && problem?.description.contains("field \"\(field)") == true)
        #expect(problem?.description.contains("pinned anew at the next meeting") == true)
      }
    }
    try expectEachFieldChecked(
      "linkmanager", WantedSites.fileName,
      [("user", [1], false), ("gate", [1], false), ("sites", [[1]], false), ("stopped", ["x"], true)],
      mending: "connect the sites again"
    ) { _ = try WantedSites.load(from: $0) }
  }

  @Test func wholeFiles() throws {
    for (host, file) in [
      ("linkmanager", Account.fileName), ("linkmanager", KnownSites.fileName), ("linkmanager", WantedSites.fileName),
      ("sitemanager", SiteBinding.fileName),
    ] {
      let load = { (directory: StateDirectory) in
        switch file {
        case Account.fileName: _ = try Account.load(from: directory)
        case KnownSites.fileName: _ = try KnownSites.load(from: directory)
        case WantedSites.fileName: _ = try WantedSites.load(from: directory)
        default: _ = try SiteBinding.load(from: directory)
        }
      }
      let state = try State(host)
      let path = state.directory.path(of: file)
      let whole = try state.text(file)
      for text in ["", "{", String(whole.prefix(whole.count / 2)), "\u{7F}ELF\u{1}\u{0}", whole + "}", "[]"] {
        try state.write(text, to: file)
        let problem = failure { try load(state.directory) }
        #expect(
          problem?.exitCode == .configuration && problem?.description.hasPrefix(path) == true, "\(text.prefix(9))")
      }
      try state.write(whole, to: file)
      try state.change("version", in: file, to: 2)
      let later = failure { try load(state.directory) }
      #expect(later?.exitCode == .configuration)
      #expect(later?.description.contains("field \"version\" is 2, which a later version") == true)
      #expect(later?.description.hasSuffix("update this program, or restore the file of before") == true)
      // Not readable, and too long.
      try FileManager.default.removeItem(atPath: path)
      try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: false)
      let unreadable = failure { try load(state.directory) }
      #expect(unreadable?.exitCode == .system)
      #expect(unreadable?.description == "read \(path): Is a directory", "\(unreadable?.description ?? "")")
      try FileManager.default.removeItem(atPath: path)
      try state.write(String(repeating: " ", count: 1 << 21), to: file)
      #expect(failure { try load(state.directory) }?.exitCode == .system)
    }
  }

  @Test func keysThatAreNone() throws {
    for host in ["linkmanager", "sitemanager"] {
      let load = { (directory: StateDirectory) in
        if host == "linkmanager" {
          _ = try #require(try Account.load(from: directory)).credentials(in: directory)
        } else {
          _ = try #require(try SiteBinding.load(from: directory)).credentials(in: directory)
        }
      }
      let state = try State(host)
      let path = state.directory.path(of: StateDirectory.keyName)
      for text in ["", "garbage", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"] {
        try state.write(text, to: StateDirectory.keyName)
        let problem = failure { try load(state.directory) }
        #expect(problem?.exitCode == .configuration)
        #expect(problem?.description.hasPrefix("\(path) holds no private key in PEM: restore it") == true)
      }
      try FileManager.default.removeItem(atPath: path)
      #expect(failure { try load(state.directory) }?.description.hasPrefix("\(path) is missing: restore it") == true)
      try PrivateKey.generate().write(to: path)
      let other = failure { try load(state.directory) }
      #expect(other?.exitCode == .configuration)
      #expect(other?.description.contains("field \"gate.certificate\" is for another key than key.pem") == true)
    }
  }

  // MARK: What running services tell

  private func status<Report: Codable & CustomStringConvertible>(
    _ type: Report.Type, _ name: String, says parts: String...
  ) throws {
    var object = try #require(
      try JSONSerialization.jsonObject(with: Data(contentsOf: Self.golden.appending(path: "status/\(name).json")))
        as? [String: Any])
    // A later service tells more.
    object["weather"] = ["today": "fine"]
    let data = try JSONSerialization.data(withJSONObject: object)
    let report = try JSONDecoder().decode(type, from: data)
    for part in parts { #expect(report.description.contains(part), "\(part) in \(report.description)") }
  }

  @Test func statusOfVersion01() throws {
    try status(LinkStatus.self, "linkmanager", says: "site-a", "not 9999", "server")
    try status(SiteStatus.self, "sitemanager", says: "site-a", "technician", "server")
  }
}
