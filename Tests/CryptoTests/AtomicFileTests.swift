import Glibc
import Testing

@testable import Crypto

@Suite struct AtomicFileTests {
  /// A directory that goes with the test.
  private final class Folder {
    let path: String

    init() throws {
      var template = Array("/tmp/atomic-XXXXXX".utf8CString)
      let made = unsafe template.withUnsafeMutableBufferPointer { unsafe $0.baseAddress.flatMap { unsafe mkdtemp($0) } }
      path = try unsafe String(cString: #require(made))
    }

    deinit {
      for name in names { unsafe unlink("\(path)/\(name)") }
      unsafe rmdir(path)
    }

    func put(_ name: String) throws {
      close(try #require(unsafe open("\(path)/\(name)", O_WRONLY | O_CREAT, 0o600) as CInt?))
    }

    var names: Set<String> {
      guard let stream = unsafe opendir(path) else { return [] }
      defer { unsafe closedir(stream) }
      var names: Set<String> = []
      while let entry = unsafe readdir(stream) {
        names.insert(
          unsafe withUnsafePointer(to: entry.pointee.d_name) {
            unsafe String(cString: UnsafeRawPointer($0).assumingMemoryBound(to: CChar.self))
          })
      }
      return names.subtracting([".", ".."])
    }
  }

  @Test func writesInFullAndLeavesNothingElse() throws {
    let folder = try Folder()
    let file = folder.path + "/state.json"
    try AtomicFile.write([1, 2, 3], to: file, permissions: 0o600, replacing: false)
    #expect(throws: CryptoError.self) { try AtomicFile.write([4], to: file, permissions: 0o600, replacing: false) }
    #expect(try AtomicFile.read(file, limit: 10) == [1, 2, 3])
    try AtomicFile.write([4], to: file, permissions: 0o600, replacing: true)
    #expect(try AtomicFile.read(file, limit: 10) == [4])
    #expect(folder.names == ["state.json"])
  }

  @Test func readsNoMoreThanItsLimit() throws {
    let folder = try Folder()
    let file = folder.path + "/state.json"
    try AtomicFile.write([UInt8](repeating: 1, count: 1000), to: file, permissions: 0o600, replacing: false)
    #expect(try AtomicFile.read(file, limit: 1000).count == 1000)
    let error = #expect(throws: CryptoError.self) { try AtomicFile.read(file, limit: 999) }
    #expect(error?.kind == .system(EFBIG))
    // Nor of what has no end.
    #expect(throws: CryptoError.self) { try AtomicFile.read("/dev/zero", limit: 1000) }
  }

  @Test func removesWhatAKilledWriterLeft() throws {
    let folder = try Folder()
    let kept = [
      "state.json", "0123456789abcdef", "key.pem.0123456789ABCDEF", "a.0123456789abcde", "site.deadbeef.json",
    ]
    for name in kept { try folder.put(name) }
    try folder.put("state.json.0123456789abcdef")
    // One that is being written.
    let busy = "key.pem.fedcba9876543210"
    try folder.put(busy)
    let writer = unsafe open("\(folder.path)/\(busy)", O_WRONLY)
    #expect(flock(writer, LOCK_EX | LOCK_NB) == 0)
    AtomicFile.removeAbandoned(in: folder.path)
    #expect(folder.names == Set(kept + [busy]))
    close(writer)
    AtomicFile.removeAbandoned(in: folder.path)
    #expect(folder.names == Set(kept))
  }
}
