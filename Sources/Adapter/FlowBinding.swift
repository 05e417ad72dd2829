import Framing
import Packet
import Primitives
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
  }

  let end: End
  let site: SlotID
  let stream: StreamID
  let transport: TransportProtocol
  /// What the application asked for, with the alias's address.
  let destination: Endpoint
  let agent: String
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
