import CLinux
import Glibc
import Primitives
import Synchronization

/// The machine's clocks, as instants.
public enum Clock {
  /// CLOCK_BOOTTIME: goes on while the machine is suspended, so that a deadline passed asleep has passed.
  public static var now: Instant { read(CLOCK_BOOTTIME) }

  /// Seconds since 1970, for what has to mean the same on another machine: certificates, grants, logs.
  public static var unixSeconds: Int64 { read(CLOCK_REALTIME).nanoseconds / 1_000_000_000 }

  /// Nanoseconds since 1970.
  public static var unixNanoseconds: Int64 { read(CLOCK_REALTIME).nanoseconds }

  private static func read(_ clock: clockid_t) -> Instant {
    var time = timespec()
    unsafe clock_gettime(clock, &time)
    return Instant(nanoseconds: Int64(time.tv_sec) &* 1_000_000_000 &+ Int64(time.tv_nsec))
  }
}

/// A thread of the operating system, for loops that own descriptors.
public final class Thread: Sendable {
  private let handle: pthread_t
  private let joined = Mutex(false)

  private final class Start {
    let name: String
    let body: @Sendable () -> Void

    init(name: String, body: @escaping @Sendable () -> Void) {
      self.name = name
      self.body = body
    }
  }

  /// Starts a thread; `name` is shown by debuggers (15 bytes at most). Signals stay with the main thread.
  public init(name: String, _ body: @escaping @Sendable () -> Void) throws(SystemError) {
    let start = unsafe Unmanaged.passRetained(Start(name: String(name.prefix(15)), body: body))
    var thread = pthread_t()
    var all = sigset_t()
    var before = sigset_t()
    unsafe sigfillset(&all)
    unsafe pthread_sigmask(SIG_SETMASK, &all, &before)
    let code = unsafe pthread_create(
      &thread, nil,
      { argument in
        let start = unsafe Unmanaged<Start>.fromOpaque(argument!).takeRetainedValue()
        _ = unsafe clinux_thread_name(start.name)
        start.body()
        return nil
      }, start.toOpaque())
    unsafe pthread_sigmask(SIG_SETMASK, &before, nil)
    guard code == 0 else {
      unsafe start.release()
      throw SystemError(call: "pthread_create", subject: name, code: code)
    }
    handle = thread
  }

  /// Waits for its end. Not to be called from the thread itself.
  public func join() {
    let first = joined.withLock { done in
      defer { done = true }
      return !done
    }
    if first { pthread_join(handle, nil) }
  }

  /// Lets the calling thread rest. A signal may end the rest early.
  public static func sleep(_ time: Interval) {
    var left = timespec(
      tv_sec: Int(time.nanoseconds / 1_000_000_000), tv_nsec: Int(time.nanoseconds % 1_000_000_000))
    _ = unsafe nanosleep(&left, nil)
  }

  deinit {
    if !joined.withLock({ $0 }) { pthread_detach(handle) }
  }
}

/// An eventfd: wakes the poller of another thread.
public struct Wakeup: ~Copyable, Sendable {
  public let descriptor: OwnedDescriptor

  public init() throws(SystemError) {
    descriptor = OwnedDescriptor(
      owning: try checked("eventfd") { clinux_event_descriptor() })
  }

  public func signal() {
    clinux_event_signal(descriptor.rawValue)
  }

  public func clear() {
    clinux_event_clear(descriptor.rawValue)
  }
}

/// Messages for a thread that sleeps in a poller. Any thread may send; one thread receives.
///
/// For control only: no byte of a flow passes through one.
public final class Mailbox<Message: Sendable>: Sendable {
  /// `nil` once closed.
  private let waiting = Mutex<[Message]?>([])
  private let wakeup: Wakeup

  public init() throws(SystemError) {
    wakeup = try Wakeup()
  }

  /// The descriptor to poll for `readable`.
  public var descriptor: CInt { wakeup.descriptor.rawValue }

  /// - Returns: `false` if the mailbox is closed: nobody will receive the message.
  @discardableResult
  public func send(_ message: Message) -> Bool {
    let isOpen = waiting.withLock { messages in
      messages?.append(message)
      return messages != nil
    }
    if isOpen { wakeup.signal() }
    return isOpen
  }

  /// All that has arrived, in order.
  public func receive() -> [Message] {
    wakeup.clear()
    return waiting.withLock { messages in
      guard let received = messages else { return [] }
      messages = []
      return received
    }
  }

  /// Ends receiving: later messages are refused.
  ///
  /// - Returns: what was sent and not received.
  public func close() -> [Message] {
    waiting.withLock { $0.take() ?? [] }
  }
}
