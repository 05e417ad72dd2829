import ArgumentParser
import Control
import Crypto
import Kernel
import Primitives
import Proxy
import Service

/// `sitemanager enroll`: binds this site to a GateManager.
struct Enroll: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Bind this site to a GateManager, once.",
    discussion: """
      The code comes from `gatemanager site add NAME`. It proves this site to the GateManager and the \
      GateManager to this site: no other server can take its place. The site's private key is made here and \
      never leaves; the key of the GateManager is pinned for good.

      EXAMPLE
        sitemanager enroll --gate gm.example:443 --name plant-7 --code 1A2B-…
      """)

  @Option(help: "Where this site keeps its key and its binding.")
  var directory = SiteManagerCommand.defaultDirectory

  @Option(help: ArgumentHelp("The GateManager; port 443 unless given.", valueName: "host:port"))
  var gate: String

  @Option(help: "The site's name, as given to `gatemanager site add`.")
  var name: String

  @Option(help: "The one-time enrolment code; case, spaces and dashes don't matter.")
  var code: String

  @Option(help: ArgumentHelp("HTTP proxy on the way: http://[user:password@]host:port.", valueName: "url"))
  var proxy: String?

  @Flag(help: "Enroll again, though the site is bound already. Its key stays the same.")
  var replace = false

  func run() throws {
    try perform()
  }

  private func perform() throws(CommandFailure) {
    let address = try GateBinding.address(gate)
    let way = try GateBinding.proxy(proxy)
    let code = try enrolmentCode()
    let state = StateDirectory(directory)
    // A binding that can't be read any more needn't be, to be replaced.
    if !replace, let binding = try SiteBinding.load(from: state) {
      throw CommandFailure(
        .usage, "already enrolled as \(binding.name) at \(binding.gate.address); --replace enrolls anew")
    }
    let deadline = Clock.now + .seconds(30)
    let server = try GateTrust.establish(address, via: way, until: deadline) { key throws(CommandFailure) in
      guard code.matches(gateKey: key) else {
        throw CommandFailure(
          .notPermitted, "\(address) is not the GateManager that made this code; it was told nothing")
      }
    }
    // Only now that there is a use for it: a mistyped code leaves nothing behind.
    try state.create()
    let key = try state.keyOrNew()
    let enrolled = try ask(server, code, key, until: deadline)
    let binding = SiteBinding(
      name: enrolled.name,
      gate: try GateBinding(
        to: server, proxy: proxy, certificate: enrolled.certificate, caCertificate: enrolled.caCertificate, key: key),
      grantKey: enrolled.grantKey)
    try binding.save(in: state)
    print("enrolled as \(EscapedText(binding.name)) at \(address)")
    print("gate key \(binding.gate.key)")
    print("site key \(key.keyHash)")
  }

  private func enrolmentCode() throws(CommandFailure) -> EnrolmentCode {
    do throws(EnrolmentCodeError) {
      return try EnrolmentCode(code)
    } catch {
      throw CommandFailure(.usage, "--code: \(error)")
    }
  }

  private func ask(
    _ server: GateServer, _ code: EnrolmentCode, _ key: PrivateKey, until deadline: Instant
  ) throws(CommandFailure) -> ControlMessage.Enrolled {
    let request: CertificateRequest
    do throws(CryptoError) {
      request = try CertificateRequest(key: key, commonName: name)
    } catch {
      throw CommandFailure(.usage, "--name: \"\(name)\" can't be the name of a site")
    }
    let hello = ControlMessage.Hello(role: .siteManager, name: name, software: SiteManagerCommand.software)
    let message = ControlMessage.enroll(.init(secret: code.secret, csr: request.pem, name: name))
    do throws(GateError) {
      guard
        case .enrolled(let enrolled) = try ControlExchange.request(message, of: server, hello: hello, until: deadline)
      else { throw .unexpected("another answer") }
      return enrolled
    } catch {
      throw CommandFailure(error)
    }
  }
}
