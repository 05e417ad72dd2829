import Crypto
import Service

/// The keys of the sites that this PC has met, by GateManager: pinned at the first meeting.
///
/// GateManager names a site's key when it connects the two. What it named first is what it must name for ever: a
/// GateManager that puts itself in a site's place later is found out here.
struct KnownSites: Codable, Hashable, Sendable {
  static let fileName = "known-sites.json"

  /// GateManager's key → site's name → site's key.
  var sites: [String: [String: KeyHash]] = [:]

  static func load(from directory: StateDirectory) throws(CommandFailure) -> KnownSites {
    try directory.load(
      KnownSites.self, from: fileName,
      mending: "restore it from a backup, or move it away: the sites' keys are then pinned anew at the next meeting")
      ?? KnownSites()
  }

  /// Pins a new site's key; refuses another key for a site that is known.
  mutating func judge(_ key: KeyHash, of site: String, at gate: KeyHash) throws(CommandFailure) -> Bool {
    if let known = sites[gate.description]?[site] {
      guard known == key else {
        throw CommandFailure(
          .notPermitted,
          "the key of site \(site) was \(known) and is \(key) now: somebody may be in between. If the site was set up "
            + "anew, compare the key with `sitemanager status` there and run `linkmanager forget \(site)`")
      }
      return false
    }
    sites[gate.description, default: [:]][site] = key
    return true
  }

  mutating func forget(_ site: String, at gate: KeyHash) -> Bool {
    sites[gate.description]?.removeValue(forKey: site) != nil
  }
}

/// Judges a site's key by what this PC has pinned, and pins what is new.
final class PinBoard: Sendable {
  private let directory: StateDirectory
  private let gate: KeyHash
  private let site: String

  init(directory: StateDirectory, gate: KeyHash, site: String) {
    self.directory = directory
    self.gate = gate
    self.site = site
  }

  func judge(_ key: KeyHash) throws(CommandFailure) {
    var known = try KnownSites.load(from: directory)
    if try known.judge(key, of: site, at: gate) { try directory.save(known, as: KnownSites.fileName) }
  }
}
