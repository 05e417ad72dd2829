/// All stages, in the order of a byte's way.
public enum Catalogue {
  /// Payload of what Linux hands to a TUN device as one super-segment: as many whole segments as fit into 64 KiB.
  static let superSegment = 45 * ApplicationEnd.segmentSize
  /// Payload of a question to a PLC, and of its answer.
  static let poll = 60

  public static let stages: [StageDescription] = headers + filter + stack + records + sessions + relay

  private static let headers = [
    StageDescription("header/ipv4-tcp", counted: 10_000) { ParseStage(.tcp, .v4) },
    StageDescription("header/ipv4-udp", counted: 10_000) { ParseStage(.udp, .v4) },
    StageDescription("header/ipv6-tcp", counted: 10_000) { ParseStage(.tcp, .v6) },
    StageDescription("header/ipv6-udp", counted: 10_000) { ParseStage(.udp, .v6) },
    StageDescription("checksum/1500", bytes: 1_500, counted: 10_000) { try ChecksumStage(size: 1_500) },
    StageDescription("checksum/65535", bytes: 65_535, counted: 500) { try ChecksumStage(size: 65_535) },
  ]

  private static let filter = [
    StageDescription("filter/1-agent", counted: 10_000) { try FilterStage(agents: 1) },
    StageDescription("filter/100-agents", counted: 10_000) { try FilterStage(agents: 100) },
    StageDescription("filter/10000-agents", counted: 10_000) { try FilterStage(agents: 10_000) },
    StageDescription("filter/100-agents-denied", counted: 10_000) { try FilterStage(agents: 100, permits: false) },
  ]

  private static let stack = [
    StageDescription("stack/in-60", bytes: poll, counted: 5_000) { try StackInStage(size: poll) },
    StageDescription("stack/in-64k", bytes: superSegment, counted: 5_000) { try StackInStage(size: superSegment) },
    StageDescription("stack/out-60", bytes: poll, counted: 5_000) { try StackOutStage(size: poll) },
    StageDescription("stack/out-64k", bytes: superSegment, counted: 5_000) { try StackOutStage(size: superSegment) },
  ]

  private static let recordSizes = [(64, 5_000), (1_024, 2_000), (8_192, 500), (16_384, 200)]

  private static let records =
    recordSizes.map { size, counted in
      StageDescription("seal/\(size)", bytes: size, counted: counted) { try SealStage(size: size) }
    }
    + recordSizes.map { size, counted in
      StageDescription("open/\(size)", bytes: size, counted: counted) { try OpenStage(size: size) }
    }

  private static let sessions = [
    StageDescription("session/60", bytes: 2 * poll, counted: 2_000) { try SessionStage(size: poll, streams: 64) },
    StageDescription("session/64k", bytes: 2 * 65_536, counted: 50) { try SessionStage(size: 65_536, streams: 1) },
    StageDescription("session/stream", counted: 1_000) { try StreamStage() },
  ]

  private static let relay = [
    StageDescription("relay/1024", bytes: 2 * 1_024, counted: 1_000) { try RelayStage(size: 1_024) },
    // In how many parts 64 KiB pass is up to the scheduler; a KiB always is one.
    StageDescription("relay/64k", bytes: 2 * 65_536, counted: 500, isRepeatable: false) {
      try RelayStage(size: 65_536)
    },
  ]
}
