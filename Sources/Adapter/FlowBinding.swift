import Framing
import Packet
import Primitives
import Proxy
import Stack

/// What joins one end on this host with a stream of a session: looked up from either side without a search.
struct FlowBinding {
  enum End {
    /// A flow of the stack.
    case flow(FlowID)
    /// Pings of one application to one alias.
    case echo(EchoKey)
    /// A byte stream of this process.
    case local(LocalStreamCore)
    /// A connection of a device that the site listens for, on behalf of an FTP control connection.
    case awaited(control: SlotID)
  }

  var end: End
  let site: SlotID
  let stream: StreamID
  let kind: StreamProtocol
  /// What the application asked for, with the alias's address; unspecified for what is no flow to an address.
  let destination: Endpoint
  let agent: String
  /// Who asked; `nil` for a byte stream of this process.
  let application: Endpoint?
  let since: Instant
  /// Whether it is an FTP control connection, which is read: `AdapterCore.ftp`.
  var isFTPControl = false
  /// How long the site took to reach the device.
  var dial: Interval?
  /// What the stream came to, once it is over and the application still has to take the last of it.
  var outcome: StreamStatus?
  /// For flows that the stack doesn't time.
  var deadline: Instant?
}

/// Which pings belong together.
struct EchoKey: Hashable {
  let source: IPAddress
  let destination: IPAddress
  let identifier: UInt16

  init(_ echo: Echo) {
    source = echo.source
    destination = echo.destination
    identifier = echo.identifier
  }
}
