import Primitives

/// Every bound of the service, in one place. Each stands between one peer and the service of all others.
enum GateLimits {
  /// Open connections, of all kinds, before their switch to raw: as many sites as there may be records of, as many users
  /// as may have sessions, and those that come and go. An idle one costs some 30 KiB.
  static let connections = 16_384
  /// Connections that haven't finished their TLS handshake or said who they are: what a stranger can hold.
  static let strangers = 2048
  /// Of these, how many may come from one IPv4 address or IPv6 /64: a whole office, or all sites of a mobile provider's
  /// gateway, come back at once after a restart.
  static let strangersPerAddress = 256
  /// Descriptors that new connections leave alone, of so many that the process may have: a quarter, and 1,024 at most.
  /// They are for the pipes of sessions under way, and for the service itself.
  static func reservedDescriptors(of limit: Int) -> Int { min(limit / 4, 1024) }
  static let handshakeTime = Interval.seconds(10)
  /// From the end of the handshake to `hello`, or to the ticket.
  static let firstMessageTime = Interval.seconds(10)
  /// A connection without identity is there for one enrolment or login.
  static let anonymousTime = Interval.seconds(60)
  /// From the first end's ticket to the second's.
  static let meetingTime = Interval.seconds(30)
  /// From `attached` to close_notify of both ends.
  static let switchTime = Interval.seconds(10)
  static let pingInterval = Interval.seconds(20)
  /// Silence after which a peer is given up: two pings that went unanswered.
  static let deadInterval = Interval.seconds(45)
  /// A look at a peer's deadline that comes so much too late tells that this host was stopped or asleep.
  static let absence = Interval.seconds(5)

  /// From a message's first byte to its last: some 35 kbit/s for the longest. Strangers have less anyway.
  static let messageTime = Interval.seconds(60)

  /// Messages of one peer: a second, and at once after silence.
  static let messageRate: Int64 = 20
  static let messageBurst: Int64 = 100
  /// Bytes of one peer: a second, and at once. A list of agents may have 256 KiB.
  static let byteRate: Int64 = 256 << 10
  static let byteBurst: Int64 = 1 << 20
  /// Bytes that wait for a peer that doesn't read.
  static let outputBytes = 2 << 20

  /// Lines of the log about strangers in a minute, and about one known peer after another: enough to see who it is, and
  /// little enough that nobody can fill a disk with them.
  static let refusalLines = 30

  static let sessions = 4096
  static let sessionsPerUser = 32
  static let reasonBytes = 256
  /// Logins and enrolments that wait for the worker; each takes some 100 ms of it.
  static let pendingRequests = 32
  /// Tries of one connection.
  static let triesPerConnection = 5
  /// Events that wait for the audit when it can't be written; beyond it, they are counted.
  static let unwrittenEvents = 10_000
  /// Bytes of a record's file, in a directory of before.
  static let recordBytes = 256 << 10
  /// Records of one kind.
  static let records = 10_000
}
