import CLinux
import Glibc
import Kernel
import Packet
import Primitives
import Synchronization
import Testing

@testable import Tun

/// A network namespace of a test's own: whatever is done to links in it, the machine's network isn't touched.
enum NetworkSandbox {
  static let reason: Comment = "needs root and /dev/net/tun"

  static var isAvailable: Bool { unsafe geteuid() == 0 && access("/dev/net/tun", R_OK | W_OK) == 0 }

  /// Runs `body` in a thread that has a new namespace, which ends with it, and gives its result or its error.
  static func run<R: Sendable>(_ body: @escaping @Sendable () throws -> R) throws -> R {
    let outcome = Outcome<R>()
    let thread = try Thread(name: "sandbox") {
      let result = Result {
        guard clinux_unshare_network() == 0 else { throw SystemError(call: "unshare", code: clinux_errno()) }
        return try body()
      }
      outcome.value.withLock { $0 = result }
    }
    thread.join()
    guard let result = outcome.value.withLock({ $0 }) else { throw Unmet(what: "the thread ended without a result") }
    return try result.get()
  }

  private final class Outcome<R: Sendable>: Sendable {
    let value = Mutex<Result<R, any Error>?>(nil)
  }
}

/// An expectation that wasn't met in a thread where the test library can't tell whose it was.
struct Unmet: Error, CustomStringConvertible {
  var what: String
  var description: String { what }
}

func need(_ condition: Bool, _ what: @autoclosure () -> String) throws(Unmet) {
  if !condition { throw Unmet(what: what()) }
}

/// A device with a pool, and the little of a host behind it that the tests need.
struct Bench<Device: PacketDevice & ~Copyable>: ~Copyable {
  var device: Device
  var pool = SlabPool()
  var lane = SlabLane()

  init(_ device: consuming Device) {
    self.device = device
  }

  /// The next packet, as an array; `nil` when none comes for five seconds, which is time for a retransmission.
  mutating func next() throws -> (bytes: [UInt8], offload: Offload)? {
    for _ in 0..<100 {
      guard let region = pool.reserve(PacketLimits.size, in: &lane) else { throw Unmet(what: "pool is exhausted") }
      switch try device.read(into: region, pool: &pool) {
      case .packet(let slice, let offload): return (pool.array(slice), offload)
      case .dropped: continue
      case .wouldBlock:
        guard let descriptor = device.descriptor, clinux_poll_one(descriptor, Int16(POLLIN), 5000) > 0 else {
          return nil
        }
      }
    }
    return nil
  }

  mutating func write(_ packet: TestPacket) throws -> PacketWrite {
    var slices: [Slice] = []
    for piece in packet.payload {
      guard let slice = pool.copy(piece.span, in: &lane) else { throw Unmet(what: "pool is exhausted") }
      slices.append(slice)
    }
    let result = try device.write(packet.offload, header: packet.header.span, payload: slices.span, pool: &pool)
    for slice in slices { pool.release(slice) }
    return result
  }
}
