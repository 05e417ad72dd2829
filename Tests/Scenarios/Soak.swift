import Foundation

/// The tests that take minutes: `make soak` runs them, `make test` reports them as skipped.
enum Soak {
  static let isWanted = ProcessInfo.processInfo.environment["RELAYVPN_SOAK"] == "1"
  static let comment = "takes minutes: `make soak` runs it"
}
