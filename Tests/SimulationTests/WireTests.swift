import Primitives
import Testing

@testable import Simulation

/// The kernels' connection that the simulator makes up has to be one that could be.
@Suite struct WireTests {
  private struct End {
    var network: Network
    let wire: Int

    init(capacity: Int) {
      network = Network(seed: 1, trace: Trace())
      wire = network.addWire(capacity: capacity, latency: .milliseconds(1), jitter: .microseconds(1))
    }

    /// Lets everything arrive that is under way.
    mutating func wait() {
      network.now = network.now + .milliseconds(10)
      while case .wire(let wire, let event)? = network.agenda.popDue(network.now) { _ = network.arrived(wire, event) }
    }

    mutating func read(_ end: Int) -> [UInt8]? {
      guard case .moved(let count) = network.wires[wire].look(end) else { return nil }
      var bytes = [UInt8](repeating: 0, count: count)
      var span = bytes.mutableSpan
      network.read(wire, end, into: &span)
      return bytes
    }
  }

  @Test func carriesWhatFitsAndTheEndBehindIt() {
    var end = End(capacity: 4)
    let bytes: [UInt8] = [1, 2, 3, 4, 5]
    #expect(end.network.write(end.wire, 0, bytes.span) == 4)
    #expect(end.network.wires[end.wire].look(1) == .wouldBlock)
    end.network.finish(end.wire, 0)
    end.wait()
    #expect(end.network.wires[end.wire].room(0) == 0)
    #expect(end.read(1) == [1, 2, 3, 4])
    #expect(end.network.wires[end.wire].look(1) == .ended && end.network.wires[end.wire].room(0) == 4)
    // The other direction is still open.
    #expect(end.network.write(end.wire, 1, bytes.span) == 4)
    end.wait()
    #expect(end.read(0) == [1, 2, 3, 4])
  }

  @Test func whatWasResetDoesNotLookFinished() {
    var end = End(capacity: 100)
    let bytes = [UInt8](repeating: 7, count: 50)
    _ = end.network.write(end.wire, 0, bytes.span)
    end.network.finish(end.wire, 0)
    end.network.close(end.wire, 0, reset: true)
    end.wait()
    let count = end.read(1)?.count ?? 0
    let look = end.network.wires[end.wire].look(1)
    // If the reset has kept bytes back, then the FIN behind them as well.
    #expect(look == .failed(.reset) || (count == 50 && look == .ended))
    #expect(end.network.write(end.wire, 1, bytes.span) == nil)
  }

  @Test func closingWithUnreadBytesIsAReset() {
    var end = End(capacity: 100)
    let bytes: [UInt8] = [1]
    _ = end.network.write(end.wire, 0, bytes.span)
    end.wait()
    end.network.close(end.wire, 1, reset: false)
    end.wait()
    #expect(end.network.wires[end.wire].look(0) == .failed(.reset))
  }

  @Test func bytesForAClosedEndAreAnsweredWithAReset() {
    var end = End(capacity: 100)
    let bytes: [UInt8] = [1]
    end.network.close(end.wire, 1, reset: false)
    end.wait()
    #expect(end.network.wires[end.wire].look(0) == .ended)
    #expect(end.network.write(end.wire, 0, bytes.span) == 1)
    end.wait()
    end.wait()
    #expect(end.network.wires[end.wire].look(0) == .failed(.reset))
  }

  @Test func aDeadEndIsNoticedLate() {
    var end = End(capacity: 100)
    let bytes: [UInt8] = [1]
    end.network.die(end.wire, 1, after: .seconds(60))
    #expect(end.network.write(end.wire, 0, bytes.span) == 1)
    end.wait()
    #expect(end.network.wires[end.wire].look(0) == .wouldBlock)
    end.network.now = end.network.now + .seconds(60)
    end.wait()
    #expect(end.network.wires[end.wire].look(0) == .failed(.timedOut))
  }
}
