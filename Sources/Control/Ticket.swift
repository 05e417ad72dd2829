public import Crypto

/// Proof that GateManager has invited its holder to one data connection: 32 random bytes. A secret.
public struct Ticket: Hashable, Sendable {
  public static let size = 32

  public let bytes: [UInt8]

  /// `nil` unless there are 32 bytes.
  public init?(_ bytes: [UInt8]) {
    guard bytes.count == Self.size else { return nil }
    self.bytes = bytes
  }

  public static func random() throws(CryptoError) -> Ticket {
    guard let ticket = Ticket(try Random.bytes(size)) else { throw CryptoError("ticket", .library) }
    return ticket
  }

  /// What is kept of a ticket: whoever reads the store can't redeem from it.
  public func hash() throws(CryptoError) -> TicketHash {
    TicketHash(digest: try SHA256.hash(bytes.span))
  }
}

/// SHA-256 of a ticket.
public struct TicketHash: Hashable, Sendable, BitwiseCopyable {
  let digest: SHA256.Digest
}

extension Ticket: CustomStringConvertible {
  /// Says nothing: tickets must not end up in logs.
  public var description: String { "ticket" }
}

extension Ticket: Codable {
  /// Base64.
  public init(from decoder: any Decoder) throws {
    self = try decodeText("ticket", from: decoder) { Base64.decode($0).flatMap(Ticket.init) }
  }

  public func encode(to encoder: any Encoder) throws {
    try encodeText(Base64.encode(bytes), to: encoder)
  }
}

/// Why a ticket was not honoured. What the peer is told should not tell these apart.
public enum TicketError: Error, Hashable, Sendable {
  /// Never issued, or used before.
  case unknown
  case expired
  case wrongRole
  /// The outer TLS connection was authenticated with another key.
  case wrongKey
  /// As many tickets are out as there may be.
  case tooMany
  case library(CryptoError)
}

extension TicketError: CustomStringConvertible {
  public var description: String {
    switch self {
    case .unknown: "the ticket is unknown, or was used before"
    case .expired: "the ticket has expired"
    case .wrongRole: "the ticket is for the session's other end"
    case .wrongKey: "the ticket is for another key"
    case .tooMany: "too many tickets are out"
    case .library(let error): "\(error)"
    }
  }
}
