import Control
import Crypto
import Kernel
import Primitives

/// Why a connection to a GateManager failed or ended.
public enum GateError: Error, Hashable, Sendable, CustomStringConvertible {
  case dial(DialError)
  case tls(TLSError)
  /// It has proven another key than the pinned one: another server, or someone in between.
  case wrongKey(expected: GatePin, found: KeyHash?)
  /// What answered doesn't speak our protocol; the name that it offers instead.
  case wrongProtocol(String?)
  /// It is TLS that answered, with protocols of its own of which this, ours, is none (RFC 7301): a GateManager that has
  /// left this version behind, or another server.
  case noCommonProtocol(String)
  /// It understood, and said no.
  case refused(ControlMessage.Failure)
  /// It sent a message that has no place here: the message's type.
  case unexpected(String)
  case malformed(ControlError)
  /// It ended the connection in good order.
  case closed
  /// Nothing has come from it for so long, not even an answer to a ping.
  case silent(Interval)
  /// It sent application data where only close_notify may come.
  case strayData
  case timedOut
  case cancelled
  case system(SystemError)

  public var description: String {
    switch self {
    case .dial(let error): error.description
    case .tls(let error): "TLS: \(error)"
    case .wrongKey(let expected, let found):
      "the GateManager's key is \(found.map(\.description) ?? "missing"), expected \(expected): somebody may be in "
        + "between; if the GateManager was set up anew, log in or enrol again"
    case .wrongProtocol: "what answered is not a GateManager"
    case .noCommonProtocol(let name):
      "what answered doesn't speak \(name): a GateManager of a later version, for which this program is too old and has "
        + "to be updated, or no GateManager"
    case .refused(let failure): "the GateManager refused: \(failure.message)"
    case .unexpected(let type): "the GateManager sent \"\(type)\" where that has no place"
    case .malformed(let error): "the GateManager sent \(error)"
    case .closed: "the GateManager closed the connection"
    case .silent(let interval): "nothing has come from the GateManager for \(interval.milliseconds / 1000) s"
    case .strayData: "the GateManager sent data across the switch to raw"
    case .timedOut: "the GateManager didn't answer in time"
    case .cancelled: "cancelled"
    case .system(let error): error.description
    }
  }

  init(_ error: WaitError) {
    switch error {
    case .timedOut: self = .timedOut
    case .cancelled: self = .cancelled
    case .ended: self = .tls(.truncated)
    case .system(let error): self = .system(error)
    }
  }
}
