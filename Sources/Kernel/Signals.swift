import CLinux
import Glibc
import Primitives

/// Signals that arrive as bytes on a descriptor instead of interrupting somebody (signalfd(2)).
public struct SignalDescriptor: ~Copyable, Sendable {
  private let descriptor: OwnedDescriptor

  /// Blocks `signals` in the calling thread; threads of this package block all of them already.
  /// Call it first, on the main thread.
  public init(_ signals: [CInt]) throws(SystemError) {
    descriptor = OwnedDescriptor(
      owning: try checked("signalfd") { unsafe clinux_signal_descriptor(signals, CInt(signals.count)) })
  }

  /// The descriptor to poll for `readable`.
  public var rawValue: CInt { descriptor.rawValue }

  /// The next signal's number; `nil` when none waits.
  public borrowing func next() -> CInt? {
    let signal = clinux_signal_read(descriptor.rawValue)
    return signal > 0 ? signal : nil
  }

  /// Blocks until one of the signals arrives.
  public borrowing func wait() -> CInt {
    while true {
      if let signal = next() { return signal }
      _ = clinux_poll_one(descriptor.rawValue, CShort(POLLIN), -1)
    }
  }

  /// Blocks until one of the signals may have arrived, or until the deadline.
  public borrowing func wait(until deadline: Instant) {
    try? descriptor.wait(for: .readable, until: deadline)
  }

  /// A write to a closed connection is an error of that write, not the end of the process.
  public static func ignoreBrokenPipes() {
    clinux_ignore_broken_pipes()
  }
}
