public import Crypto
public import Primitives

/// The tickets that are out: who may redeem each, for which session, and until when.
///
/// A ticket is gone once it was presented, whether it was honoured or not.
public struct TicketStore: Sendable {
  /// No ticket lives longer than this.
  public static let maximumLifetime = Interval.seconds(30)

  private struct Entry {
    let role: Role
    let session: SessionID
    let keyHash: KeyHash
    let expiry: Instant
  }

  private var entries: [TicketHash: Entry] = [:]
  /// Tickets that may be out at once.
  public let limit: Int

  public init(limit: Int = 4096) {
    self.limit = limit
  }

  public var count: Int { entries.count }

  /// When the next ticket expires, at which `sweep` should be called.
  public var nextDeadline: Instant? { entries.values.map(\.expiry).min() }

  /// Issues a ticket bound to a role, a session and the key that the redeemer has to authenticate with.
  /// - Parameter lifetime: cut to `maximumLifetime`.
  public mutating func issue(
    _ role: Role, session: SessionID, keyHash: KeyHash, lifetime: Interval = maximumLifetime, now: Instant
  ) throws(TicketError) -> Ticket {
    if entries.count >= limit { sweep(now: now) }
    guard entries.count < limit else { throw .tooMany }
    do throws(CryptoError) {
      let ticket = try Ticket.random()
      let expiry = now + min(lifetime, Self.maximumLifetime)
      entries[try ticket.hash()] = Entry(role: role, session: session, keyHash: keyHash, expiry: expiry)
      return ticket
    } catch {
      throw .library(error)
    }
  }

  /// Takes a ticket back and says which session it is for.
  /// - Parameter keyHash: of the key that the peer's TLS connection has proven.
  public mutating func redeem(
    _ ticket: Ticket, as role: Role, keyHash: KeyHash, now: Instant
  ) throws(TicketError) -> SessionID {
    let hash: TicketHash
    do throws(CryptoError) { hash = try ticket.hash() } catch { throw .library(error) }
    guard let entry = entries.removeValue(forKey: hash) else { throw .unknown }
    guard now < entry.expiry else { throw .expired }
    guard entry.role == role else { throw .wrongRole }
    guard entry.keyHash == keyHash else { throw .wrongKey }
    return entry.session
  }

  /// Withdraws what is out for a session.
  public mutating func revoke(_ session: SessionID) {
    entries = entries.filter { $0.value.session != session }
  }

  /// Forgets what has expired.
  public mutating func sweep(now: Instant) {
    entries = entries.filter { now < $0.value.expiry }
  }
}
