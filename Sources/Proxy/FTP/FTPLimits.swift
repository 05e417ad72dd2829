import Primitives

/// The bounds of FTP's data connections, at both ends, each with its reason.
public struct FTPLimits: Sendable {
  /// Announced data connections of one control connection that weren't opened yet, in each mode. RFC 959 has one at a
  /// time; a transfer that was given up may leave one behind.
  public var announcements = 4
  /// How long an announcement is good for. A client connects at once, a device as soon as it has the file.
  public var announcementLifetime = Interval.seconds(60)
  /// Listening sockets of one session at the site: each is a port open to the device's network.
  public var listeners = 64
  /// Connections of strangers to a listener, before it is given up.
  public var strangers = 16
  /// Bytes of commands that the LinkManager takes from a client ahead of the site's answers.
  public var commands = 32 * 1024

  public init() {}
}
