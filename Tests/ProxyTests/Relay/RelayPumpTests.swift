import Primitives
import Testing

@testable import Proxy

struct RelayPumpTests {
  @Test func readsOnlyWhenThePipeIsEmpty() {
    var pump = RelayPump()
    #expect(pump.next == .fill)
    pump.filled(.moved(10))
    #expect(pump.next == .drain(10))
    pump.drained(.moved(4))
    #expect(pump.next == .drain(6) && pump.bytesInPipe == 6)
    pump.drained(.wouldBlock)
    pump.sourceIsReady()
    #expect(pump.next == .wait)
    pump.sinkIsReady()
    pump.drained(.moved(6))
    #expect(pump.next == .fill && pump.bytesInPipe == 0 && pump.bytes == 10)
    pump.filled(.wouldBlock)
    #expect(pump.next == .wait)
  }

  @Test func endsOnlyAfterTheLastByte() {
    var pump = RelayPump()
    pump.filled(.moved(1))
    pump.drained(.wouldBlock)
    pump.sourceIsReady()
    #expect(pump.next == .wait)
    pump.sinkIsReady()
    pump.drained(.moved(1))
    pump.filled(.ended)
    #expect(pump.next == .finish && !pump.isDone)
    pump.finished()
    #expect(pump.next == .done && pump.isDone)
  }

  @Test func aFailureIsNotTheEnd() {
    var pump = RelayPump()
    pump.filled(.moved(5))
    pump.drained(.failed(32))
    #expect(pump.next == .done && !pump.isDone)
  }

  /// Against a source and a sink that take and give any amount at any time: all bytes arrive, in order.
  @Test(arguments: 0..<50 as Range<UInt64>) func movesAllWhateverComes(seed: UInt64) {
    var random = SeededRandom(seed: seed)
    var pump = RelayPump()
    var source = Int.random(in: 0...5000, using: &random)
    let total = source
    var (pipe, sink) = (0, 0)
    for _ in 0..<100_000 {
      switch pump.next {
      case .fill:
        #expect(pipe == 0)
        if source == 0 {
          pump.filled(.ended)
        } else if Bool.random(using: &random) {
          let count = Int.random(in: 1...min(source, 700), using: &random)
          source -= count
          pipe += count
          pump.filled(.moved(count))
        } else {
          pump.filled(.wouldBlock)
        }
      case .drain(let count):
        #expect(count == pipe)
        if Bool.random(using: &random) {
          let moved = Int.random(in: 1...count, using: &random)
          pipe -= moved
          sink += moved
          pump.drained(.moved(moved))
        } else {
          pump.drained(.wouldBlock)
        }
      case .finish: pump.finished()
      case .wait: if Bool.random(using: &random) { pump.sourceIsReady() } else { pump.sinkIsReady() }
      case .done:
        #expect(sink == total && pump.bytes == UInt64(total) && pump.isDone)
        return
      }
    }
    Issue.record("no end")
  }
}
