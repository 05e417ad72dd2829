import Access
import Crypto
import Glibc
import Service

/// One JSON object a file, as versions before 0.2 kept users and sites. They are read once, to go into the store.
struct RecordFolder<Entry: Record>: Sendable {
  let path: String
  private let limit: Int

  /// - Parameter limit: no more records are read.
  init(directory: String, limit: Int = GateLimits.records) {
    path = directory + "/" + Entry.folder
    self.limit = limit
  }

  private func load(_ name: String) throws(StoreError) -> Entry {
    let bytes: [UInt8]
    do throws(CryptoError) {
      bytes = try AtomicFile.read(file(name), limit: GateLimits.recordBytes)
    } catch {
      throw .failed(error)
    }
    do throws(StateFileError) {
      return try StateFile.decode(Entry.self, from: bytes) { entry in
        guard entry.name == name else { return StateFileError(field: ["name"], reason: "is another than the file's") }
        return entry.problem
      }
    } catch {
      throw .unreadable(
        path: file(name), error,
        mending: "restore it from a backup, or remove the file and run `gatemanager \(Entry.word) add \(name)` again")
    }
  }

  /// All that can be read, by name, and what is wrong with the others. None if there is no such directory.
  func loadAll() -> (entries: [Entry], problems: [StoreError]) {
    var entries: [Entry] = []
    var problems: [StoreError] = []
    let names: [String]
    do throws(StoreError) {
      names = try self.names()
    } catch {
      return ([], [error])
    }
    for name in names {
      do throws(StoreError) {
        entries.append(try load(name))
      } catch {
        problems.append(error)
      }
    }
    return (entries, problems)
  }

  /// Whether there is such a directory.
  var exists: Bool { unsafe access(path, F_OK) == 0 }

  /// Gives the directory another name, under which nobody looks for it; one that is empty is removed.
  func retire() {
    guard unsafe rmdir(path) != 0 else { return }
    unsafe rename(path, path + ".imported")
  }

  private func names() throws(StoreError) -> [String] {
    let names = try files().compactMap { $0.hasSuffix(".json") ? String($0.dropLast(5)) : nil }
    return Array(names.filter(AccessName.isValid).sorted().prefix(limit))
  }

  private func files() throws(StoreError) -> [String] {
    guard let directory = unsafe opendir(path) else {
      let code = errno
      if code == ENOENT { return [] }
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

  private func file(_ name: String) -> String { "\(path)/\(name).json" }
}
