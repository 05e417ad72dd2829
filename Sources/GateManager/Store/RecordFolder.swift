import Crypto
import Glibc
import Service

/// One JSON object a file, replaced as a whole: the command line and the service may both work on it at any time.
struct RecordFolder<Entry: Record>: Sendable {
  let path: String
  private let limit: Int
  private let cache: RecordCache<Entry>

  /// - Parameter limit: records at most: no more are made, and no more are read.
  init(directory: String, limit: Int = GateLimits.records) {
    path = directory + "/" + Entry.folder
    self.limit = limit
    cache = RecordCache(limit: limit)
  }

  /// `nil` when there is none of this name.
  func load(_ name: String) throws(StoreError) -> Entry? {
    guard RecordName.isValid(name) else { throw .invalidName(name) }
    let stamp = FileStamp(file(name))
    if let stamp, let known = cache.entry(name, stamp) { return known }
    let bytes: [UInt8]
    do throws(CryptoError) {
      bytes = try AtomicFile.read(file(name), limit: GateLimits.recordBytes)
    } catch {
      cache.forget(name)
      if error.kind == .system(ENOENT) { return nil }
      throw .failed(error)
    }
    do throws(StateFileError) {
      let entry = try StateFile.decode(Entry.self, from: bytes) { entry in
        guard entry.name == name else { return StateFileError(field: ["name"], reason: "is another than the file's") }
        return entry.problem
      }
      if let stamp { cache.keep(entry, name, stamp) }
      return entry
    } catch {
      throw .unreadable(
        path: file(name), error,
        mending: "restore it from a backup, or remove the file and run `gatemanager \(Entry.word) add \(name)` again")
    }
  }

  func existing(_ name: String) throws(StoreError) -> Entry {
    guard let entry = try load(name) else { throw .unknown(Entry.word, name) }
    return entry
  }

  /// All that can be read, by name, and what is wrong with the others.
  ///
  /// - Returns: in `unreadable`, the names of those others; `nil` if not even these are known.
  func loadAll() -> (entries: [Entry], problems: [StoreError], unreadable: Set<String>?) {
    var entries: [Entry] = []
    var problems: [StoreError] = []
    var unreadable: Set<String> = []
    let names: [String]
    do throws(StoreError) {
      names = try self.names()
    } catch {
      return ([], [error], nil)
    }
    for name in names {
      do throws(StoreError) {
        if let entry = try load(name) { entries.append(entry) }
      } catch {
        problems.append(error)
        unreadable.insert(name)
      }
    }
    return (entries, problems, unreadable)
  }

  /// In alphabetical order.
  func names() throws(StoreError) -> [String] {
    let names = try files().compactMap { $0.hasSuffix(".json") ? String($0.dropLast(5)) : nil }
    return Array(names.filter(RecordName.isValid).sorted().prefix(limit))
  }

  private func files() throws(StoreError) -> [String] {
    guard let directory = unsafe opendir(path) else {
      let code = errno
      throw .failed(CryptoError("list", .system(code), reason: unsafe "\(path): \(String(cString: strerror(code)))"))
    }
    defer { unsafe closedir(directory) }
    var names: [String] = []
    while let entry = unsafe readdir(directory) {
      names.append(
        unsafe withUnsafePointer(to: entry.pointee.d_name) {
          unsafe String(cString: UnsafeRawPointer($0).assumingMemoryBound(to: CChar.self))
        })
    }
    return names
  }

  /// - Parameter replacing: if false, a name that is taken is an error.
  func save(_ entry: Entry, replacing: Bool) throws(StoreError) {
    guard RecordName.isValid(entry.name) else { throw .invalidName(entry.name) }
    // By the command line only, which tells whoever wants it that there are too many.
    if !replacing, try names().count >= limit { throw .tooMany(Entry.word, limit) }
    guard let bytes = StateFile.encode(entry) else { throw .malformed(path: file(entry.name), reason: "unwritable") }
    do throws(CryptoError) {
      try AtomicFile.write(bytes, to: file(entry.name), permissions: 0o600, replacing: replacing)
    } catch {
      if error.kind == .system(EEXIST) { throw .exists(Entry.word, entry.name) }
      throw .failed(error)
    }
  }

  func remove(_ name: String) throws(StoreError) {
    _ = try existing(name)
    guard unsafe unlink(file(name)) == 0 else {
      throw .failed(CryptoError("remove", .system(errno), reason: file(name)))
    }
  }

  /// Changes whenever a file was added, replaced or removed.
  var stamp: [Int] {
    var information = stat()
    guard unsafe stat(path, &information) == 0 else { return [] }
    return [information.st_mtim.tv_sec, information.st_mtim.tv_nsec]
  }

  private func file(_ name: String) -> String { "\(path)/\(name).json" }
}
