import Glibc
import Kernel
import Tun

/// What a capture that was stopped writes.
public enum CapturedBytes {
  /// - Throws: `SystemError`, also for what kept the capture from its end.
  public static func of(_ capture: Capture) throws(SystemError) -> [UInt8] {
    guard let file = unsafe tmpfile() else { throw SystemError(call: "tmpfile", code: errno) }
    defer { unsafe fclose(file) }
    let output = try OwnedDescriptor.duplicating(unsafe fileno(file))
    switch capture.run(to: output) {
    case .stopped: break
    case .failed(let error): throw error
    case .readerGone: throw SystemError(call: "write", code: EPIPE)
    }
    unsafe rewind(file)
    var bytes: [UInt8] = []
    while true {
      let byte = unsafe fgetc(file)
      if byte < 0 { return bytes }
      bytes.append(UInt8(truncatingIfNeeded: byte))
    }
  }
}
