import CLinux
import Primitives

/// What a descriptor is, or should be, ready for: the bits of epoll_ctl(2).
public struct Readiness: OptionSet, Sendable {
  public let rawValue: UInt32

  public init(rawValue: UInt32) {
    self.rawValue = rawValue
  }

  public static let readable = Readiness(rawValue: 0x001)
  public static let writable = Readiness(rawValue: 0x004)
  /// Always reported, asked for or not.
  public static let failed = Readiness(rawValue: 0x008)
  /// Both directions are finished. Always reported, asked for or not.
  public static let hangUp = Readiness(rawValue: 0x010)
  /// The peer has shut down its sending side, or more.
  public static let peerClosed = Readiness(rawValue: 0x2000)
  /// Report changes only.
  public static let edge = Readiness(rawValue: 1 << 31)
}

/// An epoll instance; tokens are the caller's.
@safe public struct Poller: ~Copyable {
  public struct Event: Sendable {
    public let token: UInt64
    public let readiness: Readiness
  }

  /// Events that one wait reports at most.
  public static let eventLimit = Int(CLINUX_EVENT_LIMIT)

  private let descriptor: OwnedDescriptor
  private let events: UnsafeMutablePointer<clinux_event>

  public init() throws(SystemError) {
    descriptor = OwnedDescriptor(owning: try checked("epoll_create1") { clinux_epoll_create() })
    unsafe events = .allocate(capacity: Self.eventLimit)
  }

  deinit {
    unsafe events.deallocate()
  }

  public func add(_ fd: CInt, token: UInt64, for readiness: Readiness) throws(SystemError) {
    try control(1, fd, token, readiness)
  }

  public func remove(_ fd: CInt) throws(SystemError) {
    try control(2, fd, 0, [])
  }

  public func modify(_ fd: CInt, token: UInt64, for readiness: Readiness) throws(SystemError) {
    try control(3, fd, token, readiness)
  }

  /// Waits until something is ready or `timeout` has passed; a signal ends the wait early.
  ///
  /// - Returns: how many events can be read with `event(_:)`; 0 when time is up.
  public func wait(timeout: Interval?) throws(SystemError) -> Int {
    let nanoseconds = timeout.map { max(0, $0.nanoseconds) } ?? -1
    let count = unsafe clinux_epoll_wait(descriptor.rawValue, events, CInt(Self.eventLimit), nanoseconds)
    if count >= 0 { return Int(count) }
    let error = SystemError.last("epoll_pwait2")
    if error.isInterrupted { return 0 }
    throw error
  }

  public func event(_ index: Int) -> Event {
    precondition(index < Self.eventLimit)
    let event = unsafe events[index]
    return Event(token: event.token, readiness: Readiness(rawValue: event.readiness))
  }

  private func control(_ operation: CInt, _ fd: CInt, _ token: UInt64, _ readiness: Readiness) throws(SystemError) {
    try checked("epoll_ctl") { clinux_epoll_control(descriptor.rawValue, operation, fd, readiness.rawValue, token) }
  }
}
