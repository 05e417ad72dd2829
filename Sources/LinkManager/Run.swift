import Adapter
import ArgumentParser
import Control
import Crypto
import Kernel
import Logging
import Primitives
import Proxy
import Service
import Tun

/// `linkmanager run`: the service.
struct Run: ParsableCommand {
  static let configuration = CommandConfiguration(
    abstract: "Serve this PC's users, until stopped.",
    discussion: """
      Passive: it holds no connection and no network device until `linkmanager connect` asks for a site, and none after
      the last site is left. Opening the device needs the capability CAP_NET_ADMIN.

      Sites stay connected until `linkmanager disconnect`. A service that comes back within minutes of a stop, such as
      an upgrade or a restart of the PC, connects them again by itself (--resume-within; 0 for never), and one that was
      killed or lost its power does so in any case.

      EXAMPLE
        linkmanager run --device relay0
      """)

  @OptionGroup var place: Place

  @Option(help: "The TUN device's name; %d in it becomes the first free number.")
  var device = "relay%d"

  @Option(
    help: ArgumentHelp(
      "Names of the TAP devices of Layer 2 agents; %a becomes the agent's name, %d the first free number.",
      valueName: "pattern"))
  var tap = EthernetDevices().pattern

  @Option(help: ArgumentHelp("MTU of the device, 1280 to 65535.", valueName: "bytes"))
  var mtu = 1500

  @Option(
    help: ArgumentHelp(
      "Where IPv4 aliases come from, if \(AliasPool.standard.v4) is in use here.", valueName: "prefix"))
  var aliasPool = AliasPool.standard.v4.description

  @Option(
    help: ArgumentHelp(
      "Where IPv6 aliases come from, if \(AliasPool.standard.v6) is in use here.", valueName: "prefix"))
  var aliasPoolV6 = AliasPool.standard.v6.description

  @Option(help: ArgumentHelp("HTTP proxy on the way: http://[user:password@]host:port.", valueName: "url"))
  var proxy: String?

  @Option(
    help: ArgumentHelp(
      "Connect the sites again that were connected when the service was stopped, if that was so long ago at most.",
      valueName: "minutes"))
  var resumeWithin = 10

  @OptionGroup var confinement: Confinement
  @OptionGroup var logging: LoggingOptions

  func validate() throws {
    guard (1280...65_535).contains(mtu) else { throw ValidationError("--mtu: \(mtu) is not between 1280 and 65535") }
    guard (0...10_080).contains(resumeWithin) else {
      throw ValidationError("--resume-within: \(resumeWithin) is not between 0 and 10080 minutes")
    }
    guard device.utf8.count <= 15, !device.isEmpty else {
      throw ValidationError("--device: a name has 1 to 15 bytes")
    }
    guard tap.contains("%a") || tap.contains("%d"), !tap.utf8.contains(where: { $0 <= 0x20 || $0 == 0x2F }) else {
      throw ValidationError("--tap: a name without blanks and slashes that holds %a or %d")
    }
    guard let v4 = IPPrefix(aliasPool), AliasPool(v4: v4, v6: AliasPool.standard.v6) != nil else {
      throw ValidationError("--alias-pool: \"\(aliasPool)\" is not an IPv4 prefix of 22 bits or fewer")
    }
    guard let v6 = IPPrefix(aliasPoolV6), AliasPool(v4: v4, v6: v6) != nil else {
      throw ValidationError("--alias-pool-v6: \"\(aliasPoolV6)\" is not an IPv6 prefix of 56 bits or fewer")
    }
  }

  private var pool: AliasPool? {
    guard let v4 = IPPrefix(aliasPool), let v6 = IPPrefix(aliasPoolV6) else { return nil }
    return AliasPool(v4: v4, v6: v6)
  }

  func run() throws {
    let log = logging.bootstrap("linkmanager")
    DescriptorLimit.raise()
    try confinement.hide(log)
    let state = StateDirectory(place.directory)
    guard let account = try Account.load(from: state) else {
      throw CommandFailure(
        .configuration, "nobody is logged in: run `linkmanager login --gate HOST --user NAME` first")
    }
    var configuration = AdapterConfiguration()
    configuration.mtu = mtu
    configuration.ethernet = EthernetDevices(pattern: tap)
    configuration.aliases = pool ?? .standard
    let metrics = MetricRegistry()
    metrics.install()
    let service = LinkService(
      account: account, server: try account.gate.server(via: GateBinding.proxy(proxy)),
      credentials: try account.credentials(in: state), directory: state, device: device,
      configuration: configuration, resumptionWindow: .seconds(Int64(resumeWithin) * 60), metrics: metrics, log: log)
    state.tidy()
    let signals = try ShutdownSignals()
    try confinement.enter(.linkManager(directory: place.directory), log)
    let management = try ManagementSocket(
      directory: place.directory, program: "linkmanager", version: LinkManagerCommand.version
    ) { request in
      do throws(CommandFailure) {
        return try synchronously { await service.answer(request) }
      } catch {
        return .failure("system", "\(error)")
      }
    }
    let network = HostNetworkMonitor.start {
      Task { await service.networkChanged() }
    } onFailure: { error in
      log.warning("changes of the host's network go unnoticed", metadata: ["reason": "\(error)"])
    }
    log.info("running", metadata: ["user": "\(account.user)", "gate": "\(account.gate.address)"])
    try synchronously { await service.resume() }
    let signal = signals.wait()
    log.info("stopping", metadata: ["signal": "\(signal)"])
    management.stop()
    service.captures.stop()
    network?.stop()
    try synchronously { await service.stop() }
  }
}

extension ConfinementProfile {
  /// Devices, addresses and routes come and go with the sites, so that the right to configure the network stays.
  static func linkManager(directory: String) -> ConfinementProfile {
    ConfinementProfile(
      directory: directory, capabilities: .networkAdministration,
      // IPv6 is switched off on TAP devices by name, which procfs alone can do before they are up.
      files: nameResolution + [.init("/dev/net/tun", .device), .init("/proc/sys/net/ipv6/conf", .write)],
      connects: true,
      systemCalls: .service(
        families: [.internet, .unix, .routes, .diagnosis],
        controls: [
          .tunAttach, .tunQuery, .tunOffload, .tunSetHeaderSize, .tunHeaderSize, .tunCarrier, .tunFeatures,
        ]))
  }
}

/// Where the service and its command line meet.
struct Place: ParsableArguments {
  @Option(help: "Where this PC keeps its key and its account.")
  var directory = LinkManagerCommand.defaultDirectory

  var client: ManagementClient {
    ManagementClient(directory: directory, program: "linkmanager", version: LinkManagerCommand.version)
  }
}
