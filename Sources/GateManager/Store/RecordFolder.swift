import Crypto
import FoundationEssentials
import Glibc

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
    do {
      let entry = try JSONDecoder().decode(Entry.self, from: Data(bytes))
      guard entry.name == name else { throw StoreError.malformed(path: file(name), reason: "holds another name") }
      if let stamp { cache.keep(entry, name, stamp) }
      return entry
    } catch let error as StoreError {
      throw error
    } catch {
      throw .malformed(path: file(name), reason: "can't be read: \(error)")
    }
  }

  func existing(_ name: String) throws(StoreError) -> Entry {
    guard let entry = try load(name) else { throw .unknown(Entry.word, name) }
    return entry
  }

  /// All that can be read, by name, and what is wrong with the others.
  func loadAll() -> (entries: [Entry], problems: [StoreError]) {
    var entries: [Entry] = []
    var problems: [StoreError] = []
    for name in names() {
      do throws(StoreError) {
        if let entry = try load(name) { entries.append(entry) }
      } catch {
        problems.append(error)
      }
    }
    return (entries, problems)
  }

  /// In alphabetical order.
  func names() -> [String] {
    let names = files().compactMap { $0.hasSuffix(".json") ? String($0.dropLast(5)) : nil }
    return Array(names.filter(RecordName.isValid).sorted().prefix(limit))
  }

  private func files() -> [String] {
    (try? FileManager.default.contentsOfDirectory(atPath: path)) ?? []
  }

  /// - Parameter replacing: if false, a name that is taken is an error.
  func save(_ entry: Entry, replacing: Bool) throws(StoreError) {
    guard RecordName.isValid(entry.name) else { throw .invalidName(entry.name) }
    // By the command line only, which tells whoever wants it that there are too many.
    if !replacing, files().count >= limit { throw .tooMany(Entry.word, limit) }
    let encoder = JSONEncoder()
    encoder.outputFormatting = [.prettyPrinted, .sortedKeys, .withoutEscapingSlashes]
    guard let data = try? encoder.encode(entry) else { throw .malformed(path: file(entry.name), reason: "unwritable") }
    do throws(CryptoError) {
      try AtomicFile.write(Array(data) + [0x0A], to: file(entry.name), permissions: 0o600, replacing: replacing)
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
