import CLinux
import Glibc
import Primitives

/// What a descriptor is, or should be, ready for.
public struct Readiness: OptionSet, Sendable {
  public let rawValue: UInt32

  public init(rawValue: UInt32) {
    self.rawValue = rawValue
  }

  public static let readable = Readiness(rawValue: EPOLLIN.rawValue)
  public static let writable = Readiness(rawValue: EPOLLOUT.rawValue)
  /// The peer has shut down its sending side, or more.
  public static let peerClosed = Readiness(rawValue: EPOLLRDHUP.rawValue)
  /// Both directions are finished. Always reported, asked for or not.
  public static let hangUp = Readiness(rawValue: EPOLLHUP.rawValue)
  /// Always reported, asked for or not.
  public static let failed = Readiness(rawValue: EPOLLERR.rawValue)
  /// Report changes only.
  public static let edge = Readiness(rawValue: EPOLLET.rawValue)
}

/// An epoll instance; tokens are the caller's.
@safe public struct Poller: ~Copyable {
  public struct Event: Sendable {
    public let token: UInt64
    public let readiness: Readiness
  }

  private let descriptor: OwnedDescriptor
  private let events: UnsafeMutablePointer<epoll_event>
  private let capacity: Int

  /// - Parameter capacity: events that one wait reports at most.
  public init(capacity: Int = 128) throws(SystemError) {
    descriptor = OwnedDescriptor(owning: try checked("epoll_create1") { epoll_create1(CInt(EPOLL_CLOEXEC.rawValue)) })
    self.capacity = capacity
    unsafe events = .allocate(capacity: capacity)
  }

  deinit {
    unsafe events.deallocate()
  }

  public func add(_ fd: CInt, token: UInt64, for readiness: Readiness) throws(SystemError) {
    try control(EPOLL_CTL_ADD, fd, token, readiness)
  }

  public func modify(_ fd: CInt, token: UInt64, for readiness: Readiness) throws(SystemError) {
    try control(EPOLL_CTL_MOD, fd, token, readiness)
  }

  public func remove(_ fd: CInt) throws(SystemError) {
    try control(EPOLL_CTL_DEL, fd, 0, [])
  }

  /// Waits until something is ready or `timeout` has passed (rounded up to whole microseconds).
  ///
  /// - Returns: how many events can be read with `event(_:)`; 0 when time is up.
  public func wait(timeout: Interval?) throws(SystemError) -> Int {
    var time = timespec()
    if let timeout {
      let nanoseconds = max(0, timeout.nanoseconds)
      time.tv_sec = Int(nanoseconds / 1_000_000_000)
      time.tv_nsec = Int(nanoseconds % 1_000_000_000)
    }
    while true {
      let count = unsafe epoll_pwait2(
        descriptor.rawValue, events, CInt(capacity), timeout == nil ? nil : &time, nil)
      if count >= 0 { return Int(count) }
      // A signal ends the wait early: the loop looks at its clock again.
      if clinux_errno() == EINTR { return 0 }
      throw SystemError.last("epoll_pwait2")
    }
  }

  public func event(_ index: Int) -> Event {
    precondition(index < capacity)
    let event = unsafe events[index]
    return unsafe Event(token: event.data.u64, readiness: Readiness(rawValue: event.events))
  }

  private func control(_ operation: CInt, _ fd: CInt, _ token: UInt64, _ readiness: Readiness) throws(SystemError) {
    var event = unsafe epoll_event()
    unsafe event.events = readiness.rawValue
    unsafe event.data.u64 = token
    try unsafe checked("epoll_ctl") { unsafe epoll_ctl(descriptor.rawValue, operation, fd, &event) }
  }
}
