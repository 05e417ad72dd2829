import Primitives
import Proxy
import Stack

/// How an adapter behaves, and its bounds, each with its reason.
public struct AdapterConfiguration: Sendable {
  /// Where aliases come from.
  public var aliases = AliasPool.standard
  /// The device's MTU. TCP doesn't depend on it, since super-segments pass whole; larger datagrams are fragmented.
  public var mtu = 1500
  /// Whether checksums and segmentation are left to the device: for a TUN with a vnet header.
  public var offloads = true
  /// Packets, and bytes of them, that are read from the device before sessions get their turn: what comes the other way
  /// waits for it. All that a window lets an application send ahead may lie in the device: to read it is quick, and only
  /// what was read can be overtaken by small traffic.
  public var packetBurst = 64
  public var byteBurst = 1024 * 1024
  /// Bursts of small packets that are read before they are sealed, as long as more of them wait: to seal and send few at
  /// a time takes longer than to read on. Others have their turns in between; 256 packets are half a millisecond.
  public var gatheredBursts = 4
  /// Reads of one session's connection before others, and the device, get their turn: each is up to 240 KiB.
  public var sessionReads = 1
  /// Sites connected at once.
  public var sessions = 64
  /// Pings under way at once; more are dropped.
  public var echoFlows = 256
  /// Places in the flow table for `LocalStream`s, besides those for the stack's flows and pings.
  public var localStreams = 4096
  /// Idle time after which a ping's flow is given up.
  public var echoIdle = Interval.seconds(20)
  /// Refusals that are remembered, for `status` and `explain`.
  public var rememberedRefusals = 64
  /// Bytes that a `LocalStream` holds unsent before its writer has to wait. What waits to be read is bounded by the
  /// stream's window.
  public var localStreamBuffer = 256 * 1024
  /// How the TAP devices of Layer 2 agents are made; `nil` for none.
  public var ethernet: EthernetDevices?
  /// Slabs of 256 KiB for payload in motion or waiting for an application.
  public var slabs = 512
  /// Of data connections that FTP control connections lead to.
  package var ftp = FTPLimits()
  public var session = SessionLimits()
  public var stack = StackLimits()

  public init() {}
}
