import Control
import Framing
import Kernel
import Primitives
import Proxy

/// A session that is ready to carry flows: what `Adapter.attach` takes.
public struct EstablishedSession: ~Copyable, Sendable {
  let site: String
  let agents: [AgentDescription]
  let socket: OwnedDescriptor
  package let secrets: RecordSecrets
  let surplus: [UInt8]
  /// What the session is called on all three parts.
  public let id: SessionID

  /// - Parameters:
  ///   - site: the site's name, which its agents are listed under.
  ///   - socket: the raw connection after the end-to-end handshake.
  ///   - surplus: bytes that came with the handshake's last message.
  public init(
    id: SessionID, site: String, agents: [AgentDescription], socket: consuming OwnedDescriptor,
    secrets: RecordSecrets, surplus: [UInt8]
  ) {
    self.id = id
    self.site = site
    self.agents = agents
    self.socket = socket
    self.secrets = secrets
    self.surplus = surplus
  }
}

/// A connected site inside the core.
package struct AttachedSite: ~Copyable {
  let name: String
  package var peer: BufferedSession
  /// The owner's own name for the session's connection.
  package let connection: SlotID
  let since: Instant
  /// What the session is called on all three parts; `nil` where nobody wants to know.
  let session: SessionID?
  var flowsByAgent: [String: Int] = [:]
  /// Set once this side has said goodbye: how long the peer has to do the same.
  var endDeadline: Instant?
  /// Why this end leaves, once it does: whatever the connection then comes to, this is how the session ended.
  var leaving: String?
}
