import Glibc
import Kernel
import Testing
import Tun

/// What a capture that was stopped writes.
enum CapturedFile {
  static func bytes(of capture: Capture) throws -> [UInt8] {
    let stream = unsafe tmpfile()
    let file = unsafe try #require(stream)
    defer { unsafe fclose(file) }
    let output = try OwnedDescriptor.duplicating(unsafe fileno(file))
    #expect(capture.run(to: output) == .stopped)
    unsafe rewind(file)
    var bytes: [UInt8] = []
    while true {
      let byte = unsafe fgetc(file)
      if byte < 0 { return bytes }
      bytes.append(UInt8(truncatingIfNeeded: byte))
    }
  }
}
