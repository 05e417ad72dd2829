import Primitives

/// The bounds of one session on the site's side, each with its reason.
public struct SiteLimits: Sendable {
  /// Time that a device has to answer a dial. Linux itself gives up after 130 s: no tool waits so long.
  public var dialTimeout = Interval.seconds(10)
  /// Idle time after which a UDP flow is given up (RFC 4787 section 4.3 asks for 2 minutes).
  public var datagramIdle = Interval.seconds(120)
  /// Bytes of the kernel's memory for datagrams of a device that weren't read yet: a burst of them comes while the loop
  /// is busy elsewhere. The kernel's usual 208 KiB are three of the largest datagrams, or 90 of a full Ethernet frame.
  public var datagramBuffer: CInt = 1024 * 1024
  /// Idle time after which an echo flow is given up.
  public var echoIdle = Interval.seconds(30)
  /// Time in which a device has to take more of the last payload of a finished stream. Not of all: a slow one has much
  /// to take, and is no reason to cut what its peer was told is through.
  public var drainTimeout = Interval.seconds(60)
  /// Silence of a device, though it was asked, after which it is taken for gone. A switch that restarts or a ring that
  /// closes anew takes up to 50 s (IEEE 802.1D), which connections survive on site and so survive here.
  public var deviceSilence = Interval.seconds(60)
  /// Dials under way at once: a scan through the tunnel must not use up the site's ports. As many as a LinkManager's
  /// stack has half open, so that a burst of connections is slowed down there by its own kernel, and not refused here.
  public var dialling = 512
  /// Bytes of a device read at once.
  public var readSize = 128 * 1024
  /// Bytes that are read from the connection before devices get their turn: a device's answer waits no longer than these
  /// take, some third of a millisecond.
  public var readBudget = 256 * 1024
  /// Slabs of 256 KiB for payload in motion or waiting for a device.
  public var slabs = 256
  public var ftp = FTPLimits()
  public var session = SessionLimits()

  public init() {}
}
