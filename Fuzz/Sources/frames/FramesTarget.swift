import Crypto
import Framing
import FuzzDriver
import Primitives

/// Frames and what they carry. Whatever the pieces in which bytes arrive, the frames are the same; each body that can
/// be read is written as the same bytes again.
@main enum FramesTarget: FuzzTarget {
  nonisolated(unsafe) private static var pool = SlabPool(slabSize: 65_536, limit: 16)
  private static let secret: SecretBytes = {
    guard let secret = try? SecretBytes(copying: [UInt8](repeating: 7, count: 32).span) else { fatalError("no secret") }
    return secret
  }()

  static func run(_ bytes: UnsafeBufferPointer<UInt8>) {
    AEAD.isOff = true
    readBodies(bytes.span)
    var script = Script(bytes)
    let pieces = Script(script.take(8))
    let frames = [UInt8](script.rest())
    guard !frames.isEmpty, frames.count <= RecordHeader.maximumPlaintext else { return }
    compare(frames, pieces)
  }

  struct Frame: Equatable {
    let header: FrameHeader
    let payload: [UInt8]
  }

  /// The frames of the bytes by a walk over an array, up to the first that isn't one.
  private static func slowly(_ bytes: [UInt8]) -> (frames: [Frame], isGood: Bool) {
    var (frames, start) = ([Frame](), 0)
    while start < bytes.count {
      guard bytes.count - start >= 8, (1...17).contains(bytes[start]), bytes[start + 1] <= 1 else {
        return (frames, false)
      }
      let length = Int(bytes[start + 2]) << 8 | Int(bytes[start + 3])
      guard let type = FrameType(rawValue: bytes[start]), bytes.count - start - 8 >= length else {
        return (frames, false)
      }
      let stream = bytes[(start + 4)..<(start + 8)].reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
      let header = FrameHeader(
        type: type, length: length, stream: StreamID(rawValue: stream), isContinued: bytes[start + 1] == 1)
      frames.append(Frame(header: header, payload: [UInt8](bytes[(start + 8)..<(start + 8 + length)])))
      start += 8 + length
    }
    return (frames, true)
  }

  /// Cuts the frames into records, and the records into pieces, as the input says.
  private static func compare(_ frames: [UInt8], _ pieces: Script) {
    let (expected, isGood) = slowly(frames)
    var script = pieces
    guard var reader = try? RecordReader(secret: secret) else { fatalError("no reader") }
    let count = frames.count + 16
    let wire = [0x17, 3, 3, UInt8(count >> 8), UInt8(count & 255)] + frames + [UInt8](repeating: 9, count: 16)
    var (found, failed) = ([Frame](), false)
    var rest = wire[...]
    while !rest.isEmpty {
      guard let target = reader.target(pool: &pool) else { return check(false, "memory for a record") }
      let size = Int(script.byte())
      let count = min(rest.count, min(script.isAtEnd ? rest.count : 1 + size, target.first.count))
      rest.prefix(count).withUnsafeBufferPointer { pool.put($0, at: target.first) }
      reader.received(count, in: target)
      rest = rest.dropFirst(count)
      guard let record = try? reader.nextRecord(pool: &pool) else {
        check(!rest.isEmpty, "a whole record is found")
        continue
      }
      check(rest.isEmpty, "no record before its end")
      var cursor = FrameCursor(record)
      do throws(FrameError) {
        while let (header, payload) = try cursor.next(pool: pool) {
          found.append(Frame(header: header, payload: pool.array(payload)))
        }
      } catch {
        failed = true
      }
      pool.release(record)
    }
    reader.close(pool: &pool)
    check(found == expected && failed == !isGood, "\(found.count) frames instead of \(expected.count)")
    check(pool.isQuiet, "every slab is back")
  }

  private static func readBodies(_ bytes: Span<UInt8>) {
    if let header = try? FrameHeader(parsing: bytes) {
      check(header.length <= bytes.count - FrameHeader.size, "a frame within the bytes")
      same(bytes, 8) { header.write(into: &$0) }
    }
    if let header = try? RecordHeader(parsing: bytes) { same(bytes, 5) { header.write(into: &$0) } }
    if let request = try? OpenRequest(parsing: bytes) { same(bytes, request.bytes) }
    if let request = try? ListenRequest(parsing: bytes) { same(bytes, request.bytes) }
    if let answer = try? ListenAnswer(parsing: bytes) {
      same(bytes, answer.bytes)
      check(answer.endpoint.port != 0, "a port that can be told")
    }
    if let refusal = try? Refusal(parsing: bytes) {
      same(bytes, refusal.bytes)
      check(!refusal.description.isEmpty && refusal.bytes.count <= 1 + Refusal.maximumTextSize, "a refusal's text")
    }
  }

  private static func same(_ bytes: Span<UInt8>, _ written: [UInt8]) {
    check(written.count == bytes.count, "as many bytes are written")
    for index in written.indices { check(written[index] == bytes[index], "byte \(index) is the same") }
  }

  private static func same(_ bytes: Span<UInt8>, _ size: Int, _ write: (inout MutableSpan<UInt8>) -> Void) {
    var written = [UInt8](repeating: 0, count: size)
    var span = written.mutableSpan
    write(&span)
    for index in 0..<size { check(written[index] == bytes[index], "byte \(index) is the same") }
  }

  static var seeds: [[UInt8]] {
    let stream = StreamID(slot: 3, tenant: 9)
    let frame = { (type: FrameType, payload: [UInt8]) -> [UInt8] in
      var header = [UInt8](repeating: 0, count: 8)
      var span = header.mutableSpan
      FrameHeader(type: type, length: payload.count, stream: stream, isContinued: type == .datagram).write(into: &span)
      return header + payload
    }
    let requests = [
      OpenRequest(agent: "plc", transport: .tcp, port: 102).bytes,
      OpenRequest(agent: "net", transport: .icmp, port: 0, hostOffset: 77).bytes,
      OpenRequest(agent: String(repeating: "é", count: 64), transport: .udp, port: 161, hostOffset: 1 << 100).bytes,
    ]
    let answers = [
      ListenAnswer(endpoint: Endpoint(IPAddress(10, 0, 0, 1), 2000)).bytes,
      ListenAnswer(endpoint: Endpoint(IPAddress(v6: 1), 2000)).bytes, ListenRequest(control: stream).bytes,
      Refusal(.deviceRefused).bytes, Refusal(.tooMany, "12 of 12").bytes,
    ]
    let pieces: [UInt8] = [3, 0, 9, 1, 40, 0, 0, 255]
    var seeds = requests + answers
    seeds.append(pieces + requests.flatMap { frame(.open, $0) })
    seeds.append(pieces + answers.flatMap { frame(.refused, $0) })
    seeds.append(pieces + FrameType.allCases.flatMap { frame($0, [1, 2, 3, 4, 5, 6, 7, 8]) })
    seeds.append(pieces + frame(.data, [UInt8](repeating: 1, count: 1000)) + frame(.end, []))
    seeds.append(contentsOf: FrameType.allCases.map { frame($0, []) })
    return seeds
  }
}
