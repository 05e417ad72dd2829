import Primitives
import Testing

@Suite struct RingQueueTests {
  /// Against an array, which does the same slowly.
  @Test(arguments: 0..<6 as Range<UInt64>)
  func behavesLikeAnArray(seed: UInt64) {
    var random = SeededRandom(seed: seed)
    var queue = RingQueue<UInt64>(minimumCapacity: Int(seed % 3) * 5)
    var twin: [UInt64] = []
    for step in 0..<4000 {
      // Longer and shorter by turns, so that the ring grows and wraps around.
      let grows = step % 400 < 200
      let value = random.next()
      switch random.next() % 8 {
      case 0 where grows, 1 where grows, 2:
        queue.append(value)
        twin.append(value)
      case 3 where grows:
        queue.prepend(value)
        twin.insert(value, at: 0)
      case 4:
        let position = Int(value % UInt64(twin.count + 1))
        queue.insert(value, at: position)
        twin.insert(value, at: position)
      case 5 where !twin.isEmpty:
        let position = Int(value % UInt64(twin.count))
        #expect(queue.remove(at: position) == twin.remove(at: position))
      case 6 where !twin.isEmpty:
        let position = Int(value % UInt64(twin.count))
        queue[position] = value
        twin[position] = value
      case 7 where step % 37 == 0:
        queue.removeAll()
        twin.removeAll()
      default:
        #expect(queue.popFirst() == (twin.isEmpty ? nil : twin.removeFirst()))
      }
      #expect(queue.count == twin.count)
      #expect(queue.isEmpty == twin.isEmpty)
      #expect(queue.first == twin.first)
      #expect(queue.last == twin.last)
    }
    #expect((0..<queue.count).map { queue[$0] } == twin)
  }

  @Test func elementsAreLetGoOf() {
    final class Token {}
    var queue = RingQueue<Token>()
    weak var first: Token?
    weak var second: Token?
    do {
      let tokens = [Token(), Token()]
      (first, second) = (tokens[0], tokens[1])
      for token in tokens { queue.append(token) }
    }
    _ = queue.popFirst()
    #expect(first == nil)
    _ = queue.remove(at: 0)
    #expect(second == nil)
    #expect(queue.isEmpty)
  }
}
