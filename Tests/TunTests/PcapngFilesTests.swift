import Glibc
import Kernel
import Primitives
import Testing

@testable import Tun

@Suite struct PcapngFilesTests {
  private static func stream(packets: Int) -> [UInt8] {
    var blocks = PcapngBlocks()
    blocks.section()
    blocks.interface(CaptureInterface("one", description: ""), snapLength: 100, filter: "")
    for index in 0..<packets {
      if index == 5 { blocks.interface(CaptureInterface("two", description: ""), snapLength: 100, filter: "") }
      blocks.packet(
        interface: index < 5 ? 0 : 1, nanoseconds: Int64(index), originalCount: 200, direction: .inbound, comment: [],
        [UInt8](repeating: UInt8(index), count: 100).span)
    }
    var counters = CaptureCounters()
    counters.dropped = 9
    blocks.statistics(interface: 0, nanoseconds: 1, counters)
    return blocks.bytes
  }

  private static func read(_ path: String) throws -> (PcapngReader, [Int64]) {
    let fd = unsafe open(path, O_RDONLY)
    try #require(fd >= 0, "\(path)")
    let file = OwnedDescriptor(owning: fd)
    var bytes = [UInt8](repeating: 0, count: 1 << 16)
    var span = bytes.mutableSpan
    guard case .moved(let count) = try file.read(into: &span) else { return (PcapngReader(), []) }
    let part = Array(bytes[..<count])
    var reader = PcapngReader()
    var times: [Int64] = []
    while let packet = try reader.next(in: part.span) { times.append(packet.nanoseconds ?? -1) }
    return (reader, times)
  }

  private static func withFolder<R>(_ body: (String) throws -> R) throws -> R {
    var template = Array("/tmp/relay-ring-XXXXXX".utf8CString)
    try #require(unsafe mkdtemp(&template) != nil)
    let path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    defer {
      for number in 0..<100 {
        for name in ["a.pcapng", "a-\(String(100_000 + number).dropFirst()).pcapng"] {
          _ = unsafe unlink("\(path)/\(name)")
        }
      }
      _ = unsafe rmdir(path)
    }
    return try body(path)
  }

  @Test func `one file takes the stream as it is, in pieces of any size`() throws {
    let stream = Self.stream(packets: 10)
    for piece in [1, 7, 100, stream.count] {
      let (reader, times) = try Self.withFolder { folder in
        var files = try PcapngFiles(path: "\(folder)/a.pcapng")
        for start in Swift.stride(from: 0, to: stream.count, by: piece) {
          try files.write(stream.span.extracting(start..<min(stream.count, start + piece)))
        }
        #expect(files.packets == 10 && files.dropped == 9)
        return try Self.read("\(folder)/a.pcapng")
      }
      #expect(times == (0..<10).map { Int64($0) })
      #expect(reader.interfaces.map(\.name) == ["one", "two"])
    }
  }

  @Test func `a ring keeps the latest files, each to be read alone`() throws {
    let stream = Self.stream(packets: 40)
    try Self.withFolder { folder in
      var files = try PcapngFiles(path: "\(folder)/a.pcapng", limits: PcapngFiles.Limits(bytes: 1000, files: 3))
      for start in Swift.stride(from: 0, to: stream.count, by: 50) {
        try files.write(stream.span.extracting(start..<min(stream.count, start + 50)))
      }
      #expect(files.count > 5)
      var all: [Int64] = []
      for number in 1...files.count {
        let isThere = unsafe access(files.name(of: number), F_OK) == 0
        #expect(isThere == (number > files.count - 3))
        guard isThere else { continue }
        let (reader, times) = try Self.read(files.name(of: number))
        #expect(reader.interfaces.map(\.name) == ["one", "two"])
        all += times
      }
      #expect(all.count > 10 && all == Array((40 - Int64(all.count))..<40))
    }
  }

  @Test func `time begins another file as well`() throws {
    let stream = Self.stream(packets: 4)
    try Self.withFolder { folder in
      var files = try PcapngFiles(
        path: "\(folder)/a.pcapng", limits: PcapngFiles.Limits(time: .milliseconds(20)))
      for start in Swift.stride(from: 0, to: stream.count, by: 160) {
        try files.write(stream.span.extracting(start..<min(stream.count, start + 160)))
        Thread.sleep(.milliseconds(25))
      }
      #expect(files.count > 2)
      #expect(files.name(of: 2) == "\(folder)/a-00002.pcapng")
    }
  }

  @Test func `interfaces without end are an error for a ring, and no memory for a file`() throws {
    let size = 1 << 20
    let block: [UInt8] = [1, 0, 0, 0, 0, 0, 0x10, 0] + [UInt8](repeating: 0, count: size - 8)
    let count = PcapngFiles.preambleLimit / size
    let nowhere = unsafe open("/dev/null", O_WRONLY | O_CLOEXEC)
    try #require(nowhere >= 0)
    var file = PcapngFiles(descriptor: OwnedDescriptor(owning: nowhere))
    for _ in 0...count { try file.write(block.span) }
    try Self.withFolder { folder in
      var files = try PcapngFiles(path: "\(folder)/a.pcapng", limits: PcapngFiles.Limits(bytes: 1000))
      for _ in 0..<count { try files.write(block.span) }
      #expect(throws: SystemError.self) { try files.write(block.span) }
    }
  }

  @Test func `what is no stream of blocks is an error, whatever it says of its length`() throws {
    for length: [UInt8] in [[0, 0, 0, 0], [11, 0, 0, 0], [13, 0, 0, 0], [255, 255, 255, 255], [4, 0, 0, 1]] {
      try Self.withFolder { folder in
        var files = try PcapngFiles(path: "\(folder)/a.pcapng")
        #expect(throws: SystemError.self) { try files.write(([1, 2, 3, 4] + length).span) }
      }
    }
  }
}
