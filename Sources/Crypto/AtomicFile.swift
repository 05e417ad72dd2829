internal import Glibc

/// Small files that are either there in full or not at all.
public enum AtomicFile {
  /// Writes a new file beside `path` and then gives it that name.
  /// - Parameters:
  ///   - permissions: the file's mode from its first moment on.
  ///   - replacing: if false, a file that is there already is an error (EEXIST).
  public static func write(
    _ bytes: [UInt8], to path: String, permissions: UInt32, replacing: Bool
  ) throws(CryptoError) {
    let suffix = Hex.encode(try Random.bytes(suffixDigits / 2))
    let temporary = "\(path).\(suffix)"
    let descriptor = unsafe open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode_t(permissions))
    guard descriptor >= 0 else { throw failure("create", temporary) }
    defer { close(descriptor) }
    // Held until the file has its name, so that `removeAbandoned` leaves it alone.
    flock(descriptor, LOCK_EX | LOCK_NB)
    do throws(CryptoError) {
      // The process's umask may only take permissions away, which fchmod puts right.
      guard fchmod(descriptor, mode_t(permissions)) == 0 else { throw failure("fchmod", temporary) }
      var start = 0
      while start < bytes.count {
        let count = unsafe bytes.withUnsafeBytes {
          unsafe Glibc.write(descriptor, $0.baseAddress! + start, $0.count - start)
        }
        if count < 0, errno == EINTR { continue }
        guard count > 0 else { throw failure("write", temporary) }
        start += count
      }
      guard fsync(descriptor) == 0 else { throw failure("fsync", temporary) }
    } catch {
      unsafe unlink(temporary)
      throw error
    }
    // link(2), unlike rename(2), refuses a name that is taken.
    guard unsafe (replacing ? rename(temporary, path) : link(temporary, path)) == 0 else {
      let error = failure(replacing ? "rename" : "link", path)
      unsafe unlink(temporary)
      throw error
    }
    if !replacing { unsafe unlink(temporary) }
    syncDirectory(of: path)
  }

  /// Gives a file that was written whole its name, in the place of one that is there: what is in it is on the disk before
  /// the name is. Both have to be in the same directory.
  public static func place(_ temporary: String, at path: String) throws(CryptoError) {
    let descriptor = unsafe open(temporary, O_RDONLY | O_CLOEXEC | O_NOFOLLOW)
    guard descriptor >= 0 else { throw failure("open", temporary) }
    defer { close(descriptor) }
    guard fsync(descriptor) == 0 else { throw failure("fsync", temporary) }
    guard unsafe rename(temporary, path) == 0 else { throw failure("rename", path) }
    syncDirectory(of: path)
  }

  /// Moves a file that was written whole, to another file system too, in the place of one that is there.
  public static func move(_ source: String, to path: String) throws(CryptoError) {
    if unsafe rename(source, path) == 0 { return syncDirectory(of: path) }
    guard errno == EXDEV else { throw failure("rename", path) }
    let partial = "\(path).part"
    let from = unsafe open(source, O_RDONLY | O_CLOEXEC | O_NOFOLLOW)
    guard from >= 0 else { throw failure("open", source) }
    defer { close(from) }
    unsafe unlink(partial)
    let to = unsafe open(partial, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0o600)
    guard to >= 0 else { throw failure("create", partial) }
    defer { close(to) }
    do throws(CryptoError) {
      while case let count = sendfile(to, from, nil, 1 << 20), count != 0 {
        guard count > 0 || errno == EINTR else { throw failure("write", partial) }
      }
      try place(partial, at: path)
    } catch {
      unsafe unlink(partial)
      throw error
    }
    unsafe unlink(source)
  }

  /// Removes what processes that were killed while they wrote have left in a directory, and only that: files with a
  /// temporary name that nobody is writing now. To be called when a service starts.
  public static func removeAbandoned(in directory: String) {
    guard let stream = unsafe opendir(directory) else { return }
    defer { unsafe closedir(stream) }
    while let entry = unsafe readdir(stream) {
      let name = unsafe withUnsafePointer(to: entry.pointee.d_name) {
        unsafe String(cString: UnsafeRawPointer($0).assumingMemoryBound(to: CChar.self))
      }
      guard isTemporary(name) else { continue }
      let path = "\(directory)/\(name)"
      let descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)
      guard descriptor >= 0 else { continue }
      if flock(descriptor, LOCK_EX | LOCK_NB) == 0 { unsafe unlink(path) }
      close(descriptor)
    }
  }

  private static let suffixDigits = 16

  /// `NAME.` and then as many lower-case hexadecimal digits as `write` appends.
  private static func isTemporary(_ name: String) -> Bool {
    let parts = name.utf8.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
    guard parts.count > 1, let last = parts.last, last.count == suffixDigits else { return false }
    return last.allSatisfy { (0x30...0x39).contains($0) || (0x61...0x66).contains($0) }
  }

  /// Reads a whole file of at most `limit` bytes; a larger one is an error (EFBIG).
  public static func read(_ path: String, limit: Int) throws(CryptoError) -> [UInt8] {
    let descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { throw failure("open", path) }
    defer { close(descriptor) }
    var bytes = [UInt8](repeating: 0, count: limit + 1)
    var end = 0
    while end < bytes.count {
      let count = unsafe bytes.withUnsafeMutableBytes {
        unsafe Glibc.read(descriptor, $0.baseAddress! + end, $0.count - end)
      }
      if count < 0, errno == EINTR { continue }
      guard count >= 0 else { throw failure("read", path) }
      if count == 0 { break }
      end += count
    }
    guard end <= limit else { throw CryptoError("read", .system(EFBIG), reason: path) }
    bytes.removeLast(bytes.count - end)
    return bytes
  }

  /// Reads a whole file of at most `limit` bytes to where secrets are kept; a larger one is an error (EFBIG).
  static func readSecret(_ path: String, limit: Int) throws(CryptoError) -> SecretBytes {
    let descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { throw failure("open", path) }
    defer { close(descriptor) }
    var information = stat()
    guard unsafe fstat(descriptor, &information) == 0 else { throw failure("stat", path) }
    guard information.st_size <= limit else { throw CryptoError("read", .system(EFBIG), reason: path) }
    return try unsafe SecretBytes(count: Int(information.st_size)) { bytes throws(CryptoError) in
      var end = 0
      while end < bytes.count {
        let count = unsafe Glibc.read(descriptor, bytes.baseAddress! + end, bytes.count - end)
        if count < 0, errno == EINTR { continue }
        guard count >= 0 else { throw failure("read", path) }
        guard count > 0 else { throw CryptoError("read", .system(EIO), reason: "\(path) became shorter") }
        end += count
      }
    }
  }

  /// Makes a directory and those above it that are missing. One that is there already is left as it is.
  /// - Parameter permissions: the mode of the last one; the others get 0755.
  public static func makeDirectory(_ path: String, permissions: UInt32 = 0o700) throws(CryptoError) {
    guard unsafe mkdir(path, mode_t(permissions)) != 0, errno != EEXIST else { return }
    guard errno == ENOENT, let parent = parent(of: path) else { throw failure("mkdir", path) }
    try makeDirectory(parent, permissions: 0o755)
    guard unsafe mkdir(path, mode_t(permissions)) == 0 || errno == EEXIST else { throw failure("mkdir", path) }
  }

  /// The path of the directory that `path` is in; `nil` for one without a slash before its last part.
  private static func parent(of path: String) -> String? {
    var rest = path[...]
    while rest.last == "/" { rest.removeLast() }
    while let last = rest.last, last != "/" { rest.removeLast() }
    while rest.last == "/" { rest.removeLast() }
    return rest.isEmpty ? nil : String(rest)
  }

  /// Makes the name itself survive a power cut. That a file system can't is no reason to fail.
  private static func syncDirectory(of path: String) {
    let name = parent(of: path) ?? (path.hasPrefix("/") ? "/" : ".")
    let descriptor = unsafe open(name, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
    guard descriptor >= 0 else { return }
    fsync(descriptor)
    close(descriptor)
  }

  private static func failure(_ operation: String, _ path: String) -> CryptoError {
    let code = errno
    return CryptoError(operation, .system(code), reason: unsafe "\(path): \(String(cString: strerror(code)))")
  }
}
