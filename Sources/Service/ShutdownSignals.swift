internal import Glibc
public import Kernel
internal import Primitives

/// SIGINT and SIGTERM as a request to end in good order.
public struct ShutdownSignals: ~Copyable, Sendable {
  private let descriptor: SignalDescriptor

  /// Call it on the main thread before any other thread is made. Ignores SIGPIPE as well.
  public init() throws(SystemError) {
    SignalDescriptor.ignoreBrokenPipes()
    descriptor = try SignalDescriptor([SIGINT, SIGTERM])
  }

  /// To be polled for `readable`.
  public var rawValue: CInt { descriptor.rawValue }

  /// The same for a limited time; `nil` if nobody asked.
  borrowing func wait(for time: Interval) -> String? {
    let deadline = Clock.now + time
    while Clock.now < deadline {
      if let signal = descriptor.next() { return signal == SIGINT ? "SIGINT" : "SIGTERM" }
      descriptor.wait(until: deadline)
    }
    return nil
  }

  /// Takes one that has come, so that the descriptor isn't readable for it any more.
  borrowing func take() {
    _ = descriptor.next()
  }

  /// Blocks until the process is asked to end; returns the signal's name.
  public borrowing func wait() -> String {
    descriptor.wait() == SIGINT ? "SIGINT" : "SIGTERM"
  }
}
