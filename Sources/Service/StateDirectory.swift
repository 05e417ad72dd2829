public import Crypto
internal import Glibc

/// Where a host keeps its key and what it has agreed on with its GateManager. For its owner's eyes only.
public struct StateDirectory: Hashable, Sendable {
  public static let keyName = "key.pem"
  private static let sizeLimit = 1 << 20

  public let path: String

  public init(_ path: String) {
    self.path = path
  }

  public func path(of name: String) -> String {
    path.hasSuffix("/") ? path + name : "\(path)/\(name)"
  }

  public func contains(_ name: String) -> Bool {
    unsafe access(path(of: name), F_OK) == 0
  }

  /// Removes a file; one that isn't there is fine.
  public func remove(_ name: String) {
    unsafe unlink(path(of: name))
  }

  /// Makes it if it isn't there.
  public func create() throws(CommandFailure) {
    do throws(CryptoError) {
      try AtomicFile.makeDirectory(path, permissions: 0o700)
    } catch {
      throw CommandFailure(error)
    }
  }

  /// Removes what a killed process has left half-written. To be called when a service starts.
  public func tidy() {
    AtomicFile.removeAbandoned(in: path)
  }

  // MARK: JSON

  /// Reads a file; `nil` if it isn't there.
  ///
  /// - Parameters:
  ///   - mending: what its owner can do about a file that can't be read: "restore it from a backup, or …".
  ///   - check: what is demanded beyond the form of its fields; `nil` if all is well.
  public func load<Value: Decodable>(
    _ type: Value.Type, from name: String, mending: String, check: (Value) -> StateFileError? = { _ in nil }
  ) throws(CommandFailure) -> Value? {
    let bytes: [UInt8]
    do throws(CryptoError) {
      bytes = try AtomicFile.read(path(of: name), limit: Self.sizeLimit)
    } catch {
      if error.kind == .system(ENOENT) { return nil }
      throw CommandFailure(error)
    }
    do throws(StateFileError) {
      return try StateFile.decode(type, from: bytes, check: check)
    } catch {
      let way = error.isOfLaterVersion ? "update this program, or restore the file of before" : mending
      throw CommandFailure(.configuration, "\(path(of: name))\(error): \(way)")
    }
  }

  /// Writes a file that only its owner may read; it is there in full or, after a crash, as it was before.
  public func save(_ value: some Encodable, as name: String) throws(CommandFailure) {
    guard let bytes = StateFile.encode(value) else {
      throw CommandFailure(.software, "\(path(of: name)): can't be written as JSON")
    }
    do throws(CryptoError) {
      try AtomicFile.write(bytes, to: path(of: name), permissions: 0o600, replacing: true)
    } catch {
      throw CommandFailure(error)
    }
  }

  // MARK: Key

  /// The host's private key, which is made here and never leaves.
  ///
  /// - Parameter mending: what its owner can do about a file that is missing or holds no key.
  public func key(mending: String = "restore it from a backup, or move it away") throws(CommandFailure) -> PrivateKey {
    let path = path(of: Self.keyName)
    do throws(CryptoError) {
      return try PrivateKey(contentsOf: path)
    } catch {
      switch error.kind {
      case .system(ENOENT): throw CommandFailure(.configuration, "\(path) is missing: \(mending)")
      case .system: throw CommandFailure(error)
      default: throw CommandFailure(.configuration, "\(path) holds no private key in PEM: \(mending)")
      }
    }
  }

  /// The key that is there, or a fresh one that is then there.
  public func keyOrNew() throws(CommandFailure) -> PrivateKey {
    if contains(Self.keyName) { return try key() }
    do throws(CryptoError) {
      let key = try PrivateKey.generate()
      try key.write(to: path(of: Self.keyName))
      return key
    } catch {
      throw CommandFailure(error)
    }
  }
}
