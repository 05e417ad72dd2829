import ArgumentParser
import Control
import Crypto
import Glibc
import Kernel
import Primitives
import Proxy
import Service

/// `linkmanager login`: introduces a user on this PC to a GateManager.
struct Login: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Log in to a GateManager as one of its users.",
    discussion: """
      The first login to a GateManager shows its key and asks whether it is the right one: compare it with what \
      `gatemanager status` shows. From then on only that key is accepted. The password is sent once and not kept; what \
      stays is a certificate for a private key that is made here and never leaves.

      EXAMPLES
        linkmanager login --gate gm.example:443 --user ann
        linkmanager login --gate gm.example --user ann --password-file secret --gate-key sha256:0123…
        oathtool --totp --base32 @secret | linkmanager login --gate gm.example --user ann --code-file - …
      """)

  @Option(help: "Where this PC keeps its key and its account.")
  var directory = LinkManagerCommand.defaultDirectory

  @Option(help: ArgumentHelp("The GateManager; port 443 unless given.", valueName: "host:port"))
  var gate: String

  @Option(help: "The user's name.")
  var user: String

  @Option(help: ArgumentHelp("Read the password from the first line of a file instead of asking.", valueName: "file"))
  var passwordFile: String?

  @Option(
    help: ArgumentHelp(
      "Read the one-time code from the first line of a file, `-` for standard input, instead of asking when one is needed.",
      valueName: "file"))
  var codeFile: String?

  @Option(help: ArgumentHelp("The GateManager's key, if it is known: no question then.", valueName: "sha256:…"))
  var gateKey: String?

  @Flag(help: "Accept the key of a GateManager that isn't known yet without asking.")
  var yes = false

  @Option(help: ArgumentHelp("HTTP proxy on the way: http://[user:password@]host:port.", valueName: "url"))
  var proxy: String?

  @Option(help: "What this PC is called at the GateManager.")
  var pc: String = Login.hostName

  func run() throws {
    try perform()
  }

  private func perform() throws(CommandFailure) {
    let address = try GateBinding.address(gate)
    let way = try GateBinding.proxy(proxy)
    let known = try Self.key(gateKey)
    let state = StateDirectory(directory)
    let account = try Account.load(from: state)
    let server = try GateTrust.establish(address, via: way, until: Clock.now + .seconds(30)) {
      key throws(CommandFailure) in
      try judge(key, at: address, known: known, account: account)
    }
    let password = try readPassword()
    var code: String?
    if let codeFile {
      code = try Self.firstLine(of: codeFile)
      guard code?.isEmpty == false else { throw CommandFailure(.usage, "--code-file: there is no code in it") }
    }
    try state.create()
    let key = try state.keyOrNew()
    let answer = try ask(server, password, key, code: code)
    let updated = Account(
      user: answer.user, pc: pc,
      gate: try GateBinding(
        to: server, proxy: proxy, certificate: answer.certificate, caCertificate: answer.caCertificate, key: key),
      expires: answer.expires)
    try updated.save(in: state)
    print("logged in as \(EscapedText(updated.user)) at \(address)")
    print("gate key \(updated.gate.key)")
    print("link key \(key.keyHash)")
  }

  /// Trust on first use; what was trusted once can't be replaced by a yes.
  private func judge(
    _ found: KeyHash, at address: HostPort, known: KeyHash?, account: Account?
  ) throws(CommandFailure) {
    if let known {
      guard found == known else {
        throw CommandFailure(.notPermitted, "the key of \(address) is \(found), not the one of --gate-key")
      }
      return
    }
    if let account, account.gate.address == address.description {
      guard found == account.gate.key else {
        throw CommandFailure(
          .notPermitted,
          "the key of \(address) was \(account.gate.key) at the last login and is \(found) now: somebody may be in "
            + "between. If the GateManager was set up anew, confirm it with --gate-key")
      }
      return
    }
    if yes { return }
    Terminal.write("The key of \(address) is\n  \(found)\n")
    guard Terminal.confirm("Is that the GateManager's?") else {
      let way = Terminal.isInteractive ? "" : ": nobody can be asked here; give --gate-key \(found), or --yes"
      throw CommandFailure(.notPermitted, "the key of \(address) is not trusted\(way)")
    }
  }

  private static func key(_ text: String?) throws(CommandFailure) -> KeyHash? {
    guard let text else { return nil }
    guard let key = KeyHash(text) else {
      throw CommandFailure(.usage, "--gate-key: a key is given as sha256: and 64 hexadecimal digits")
    }
    return key
  }

  private func readPassword() throws(CommandFailure) -> String {
    var password: String?
    if let passwordFile {
      password = try Self.firstLine(of: passwordFile)
    } else {
      password = Terminal.readSecret("Password of \(EscapedText(user)): ")
    }
    guard let password, !password.isEmpty else {
      throw CommandFailure(.usage, "no password: give --password-file, or type it at a terminal")
    }
    return password
  }

  /// `nil` for one that isn't UTF-8.
  private static func firstLine(of path: String) throws(CommandFailure) -> String? {
    do throws(CryptoError) {
      let bytes = try AtomicFile.read(path == "-" ? "/dev/stdin" : path, limit: 4096)
      return String(
        validating: bytes.prefix { $0 != UInt8(ascii: "\n") && $0 != UInt8(ascii: "\r") }, as: UTF8.self)
    } catch {
      throw CommandFailure(error)
    }
  }

  /// - Parameter code: a one-time code; `nil` to ask for one if it turns out to be needed.
  private func ask(
    _ server: GateServer, _ password: String, _ key: PrivateKey, code: String?
  ) throws(CommandFailure) -> ControlMessage.LoggedIn {
    let request: CertificateRequest
    do throws(CryptoError) {
      request = try CertificateRequest(key: key, commonName: user)
    } catch {
      throw CommandFailure(.usage, "--user: \"\(user)\" can't be the name of a user")
    }
    let hello = ControlMessage.Hello(role: .linkManager, name: pc, software: LinkManagerCommand.software)
    let message = ControlMessage.login(.init(user: user, password: password, csr: request.pem, pc: pc, code: code))
    do throws(GateError) {
      guard
        case .loggedIn(let answer) = try ControlExchange.request(
          message, of: server, hello: hello, until: Clock.now + .seconds(30))
      else { throw .unexpected("another answer") }
      return answer
    } catch {
      if code == nil, case .refused(let failure) = error, failure.code == .oneTimeCodeRequired,
        let typed = Terminal.readSecret("One-time code of \(EscapedText(user)): ")
      {
        return try ask(server, password, key, code: typed)
      }
      throw CommandFailure(error)
    }
  }

  /// This machine's name, in the letters that a GateManager takes.
  static var hostName: String {
    var buffer = [CChar](repeating: 0, count: 65)
    guard unsafe gethostname(&buffer, buffer.count - 1) == 0 else { return "pc" }
    let bytes = buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }
    let name = String(decoding: bytes, as: UTF8.self).lowercased()
    let kept = name.filter { $0.isASCII && ($0.isLetter || $0.isNumber || "._-".contains($0)) }
    return kept.isEmpty ? "pc" : kept
  }
}
