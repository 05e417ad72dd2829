import Access
import Synchronization

/// The one way by which new states come to the front, whoever has made them and on whatever thread: in their order, so that
/// the front never ends with one that was followed by another.
final class StateHandover: Sendable {
  private let store: AccessStore
  private let send: @Sendable (AccessState) -> Void
  /// Of the state that was handed over last. Locked while one is: what was read first is sent first.
  private let revision: Mutex<Int>

  /// - Parameters:
  ///   - revision: of the state that the receiver has from the beginning.
  ///   - send: mustn't block.
  init(_ store: AccessStore, after revision: Int, send: @escaping @Sendable (AccessState) -> Void) {
    self.store = store
    self.send = send
    self.revision = Mutex(revision)
  }

  /// When it returns, the store's state of before the call was sent, or a newer one.
  func hand() {
    revision.withLock { sent in
      let (state, number) = store.snapshot
      guard number != sent else { return }
      sent = number
      send(state)
    }
  }
}
