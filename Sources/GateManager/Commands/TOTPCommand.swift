import Access
import ArgumentParser
import Service

/// `gatemanager account totp`: one-time codes of accounts.
struct TOTPCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "totp", abstract: "Gives an account one-time codes for its logins, or takes them away.",
    discussion: """
      An account that has them needs a code for each login, whether its domain requires it or not. Where a domain \
      requires it (`gatemanager domain require-code`), an account without them can't log in.
      """,
    subcommands: [Enrol.self, Remove.self])

  struct Enrol: ParsableCommand {
    static let configuration = CommandConfiguration(
      abstract: "Makes a secret for an authenticator app, in place of one that was there.",
      discussion: """
        Prints it once, as an address for the app; as a QR code with: qrencode -t UTF8. It is shown at no other time.

        EXAMPLE
          gatemanager account totp enrol ann | qrencode -t UTF8
        """)

    @OptionGroup var target: NameAndDirectory

    func run() throws {
      try reporting {
        guard case .oneTimeSecret(let uri) = try target.location.perform(.enrolOneTimeCode(target.name)) else { return }
        print(uri)
      }
    }
  }

  struct Remove: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "Takes an account's secret away.")

    @OptionGroup var target: NameAndDirectory

    func run() throws { try target.perform(.removeOneTimeCode(target.name)) }
  }
}
