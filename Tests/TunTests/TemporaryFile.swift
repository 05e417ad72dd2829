import Glibc
import Kernel
import Testing

/// A file that is gone after the test.
struct TemporaryFile {
  let path: String

  static func with<R>(_ body: (TemporaryFile) throws -> R) throws -> R {
    var template = Array("/tmp/relay-capture-XXXXXX".utf8CString)
    let fd = unsafe mkstemp(&template)
    try #require(fd >= 0)
    close(fd)
    let path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    defer { _ = unsafe unlink(path) }
    return try body(TemporaryFile(path: path))
  }

  func open() throws -> OwnedDescriptor {
    let fd = unsafe Glibc.open(path, O_RDWR | O_CLOEXEC)
    try #require(fd >= 0)
    return OwnedDescriptor(owning: fd)
  }

  func bytes() throws -> [UInt8] {
    let file = try open()
    var all: [UInt8] = []
    var part = [UInt8](repeating: 0, count: 65_536)
    while true {
      var span = part.mutableSpan
      guard case .moved(let count) = try file.read(into: &span) else { return all }
      all += part.prefix(count)
    }
  }

  /// What a program prints about the file.
  ///
  /// - Parameter errors: whether what it says of errors is among it.
  func read(by command: String, errors: Bool = false) throws -> String {
    let stream = unsafe popen(
      "\(command.hasSuffix("-") ? String(command.dropLast()) : command) \(path) 2>\(errors ? "&1" : "/dev/null")", "r")
    let output = unsafe try #require(stream)
    defer { unsafe pclose(output) }
    var text: [UInt8] = []
    while true {
      let character = unsafe fgetc(output)
      if character < 0 { return String(decoding: text, as: UTF8.self) }
      text.append(UInt8(truncatingIfNeeded: character))
    }
  }
}
