import Access
import Crypto
import Foundation
import Synchronization
import Testing

@testable import GateManager

@Suite(.timeLimit(.minutes(1))) struct StateHandoverTests {
  private final class Received: Sendable {
    let states = Mutex<[Int]>([])
  }

  /// Two threads change the store, and each hands over what there is: no state comes behind a later one.
  @Test func theLastStateComesLast() throws {
    let path = "/tmp/relayvpn-handover-\(Hex.encode(try Random.bytes(8)))"
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: false)
    defer { try? FileManager.default.removeItem(atPath: path) }
    let store = try AccessStore(path: "\(path)/access.sqlite", key: try PrivateKey.generate())
    #expect(try store.setUp(time: 0))
    let received = Received()
    let handover = StateHandover(store, after: store.snapshot.revision) { state in
      received.states.withLock { $0.append(state.sites.count) }
    }
    handover.hand()
    #expect(received.states.withLock { $0.isEmpty }, "nothing has changed")
    let threads = (0..<2).map { index in
      Foundation.Thread {
        for number in 0..<100 {
          _ = try? store.transaction(time: 0) { _ throws(Never) in
            ([.putSite(AccessSite(name: "s\(index)-\(number)", domain: .root, created: 0))], [], ())
          }
          handover.hand()
        }
      }
    }
    for thread in threads { thread.start() }
    while threads.contains(where: { !$0.isFinished }) { usleep(5000) }
    let states = received.states.withLock { $0 }
    #expect(states == states.sorted() && Set(states).count == states.count && states.last == 200)
  }
}
