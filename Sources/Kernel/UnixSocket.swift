import CLinux
import Glibc

/// Stream sockets with a path for a name (unix(7)).
public enum UnixSocket {
  /// Bytes of a path at most: `sun_path` less its terminator.
  public static let pathLimit = 107

  /// Listens on `path`, which must not exist; only the owner may connect.
  public static func listen(on path: String, backlog: CInt = 16) throws(SystemError) -> OwnedDescriptor {
    let socket = try make()
    // On Linux the mode of the unbound socket becomes the mode of the file, so that there is no moment in
    // which it is open to others.
    try checked("fchmod", path) { fchmod(socket.rawValue, 0o600) }
    try unsafe withAddress(path) { address, length throws(SystemError) in
      try checked("bind", path) { unsafe clinux_bind(socket.rawValue, address, length) }
    }
    try checked("listen", path) { Glibc.listen(socket.rawValue, backlog) }
    return socket
  }

  /// Connects and returns a blocking socket whose reads and writes give up after `timeoutSeconds`. So does the attempt
  /// itself, with EAGAIN, while too many others wait to be accepted.
  public static func connect(to path: String, timeoutSeconds: Int) throws(SystemError) -> OwnedDescriptor {
    let socket = try make()
    try setBlocking(socket, timeoutSeconds: timeoutSeconds)
    try unsafe withAddress(path) { address, length throws(SystemError) in
      try checked("connect", path) { unsafe clinux_connect(socket.rawValue, address, length) }
    }
    return socket
  }

  /// Makes reads and writes block, but no longer than `timeoutSeconds` (they then report `wouldBlock`).
  public static func setBlocking(
    _ socket: borrowing OwnedDescriptor, timeoutSeconds: Int
  ) throws(SystemError) {
    try socket.setNonblocking(false)
    var time = timeval(tv_sec: timeoutSeconds, tv_usec: 0)
    for option in [SO_RCVTIMEO, SO_SNDTIMEO] {
      try checked("setsockopt") {
        unsafe setsockopt(socket.rawValue, SOL_SOCKET, option, &time, socklen_t(MemoryLayout<timeval>.size))
      }
    }
  }

  /// Two stream sockets that are connected with each other, both blocking.
  public static func pair() throws(SystemError) -> SocketPair {
    var ends: (CInt, CInt) = (-1, -1)
    try checked("socketpair") {
      unsafe withUnsafeMutableBytes(of: &ends) { bytes in
        unsafe socketpair(
          AF_UNIX, CInt(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0,
          bytes.assumingMemoryBound(to: CInt.self).baseAddress)
      }
    }
    return SocketPair(OwnedDescriptor(owning: ends.0), OwnedDescriptor(owning: ends.1))
  }

  private static func make() throws(SystemError) -> OwnedDescriptor {
    OwnedDescriptor(owning: try checked("socket") { clinux_socket(AF_UNIX, CInt(SOCK_STREAM.rawValue), 0) })
  }

  private static func withAddress(
    _ path: String, _ body: (UnsafeRawPointer, CUnsignedInt) throws(SystemError) -> Void
  ) throws(SystemError) {
    var address = sockaddr_un()
    address.sun_family = sa_family_t(AF_UNIX)
    guard path.utf8.count <= pathLimit, !path.utf8.contains(0) else {
      throw SystemError(call: "bind", subject: path, code: ENAMETOOLONG)
    }
    unsafe withUnsafeMutableBytes(of: &address.sun_path) { unsafe $0.copyBytes(from: path.utf8) }
    try unsafe withUnsafePointer(to: &address) { pointer throws(SystemError) in
      try unsafe body(pointer, CUnsignedInt(MemoryLayout<sockaddr_un>.size))
    }
  }
}

/// Two connected ends, one for each of two owners. (A tuple can't hold what isn't copied.)
@frozen public struct SocketPair: ~Copyable {
  public var near, far: OwnedDescriptor

  init(_ near: consuming OwnedDescriptor, _ far: consuming OwnedDescriptor) {
    self.near = near
    self.far = far
  }
}
