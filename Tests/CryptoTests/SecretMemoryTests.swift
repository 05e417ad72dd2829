import Foundation
import Testing

@testable import Crypto

/// In a process that has a place for secrets, as hosts do.
@Suite(.serialized) struct SecretMemoryTests {
  init() throws {
    try #require(SecretMemory.reserve() != .none)
  }

  @Test func secretsAreWithheldFromDumps() throws {
    let before = SecretMemory.used
    let secret = try SecretBytes(random: 32)
    #expect(SecretMemory.used >= before + 32)
    let address = secret.withSpan { bytes in unsafe bytes.withUnsafeBytes { UInt(bitPattern: $0.baseAddress) } }
    let flags = try #require(Self.flags(at: address))
    // Not dumped; locked, where the limit allows it.
    #expect(flags.contains("dd"))
    if SecretMemory.reserve() == .locked { #expect(flags.contains("lo") || flags.contains("lf")) }
  }

  @Test func secretsAreOverwrittenWhenLetGo() throws {
    var secret: SecretBytes? = try SecretBytes(copying: [UInt8](repeating: 0xA5, count: 64).span)
    let pointer = unsafe secret?.withSpan { bytes in unsafe bytes.withUnsafeBytes { $0.baseAddress } }
    let memory = try unsafe #require(pointer ?? nil)
    secret = nil
    // The place itself goes on being there; what is free in it begins with a list's links.
    let rest = unsafe UnsafeRawBufferPointer(start: memory + 16, count: 48)
    #expect(unsafe rest.allSatisfy { $0 == 0 })
  }

  @Test func keysOfFilesAreThere() throws {
    let path = NSTemporaryDirectory() + "secret-key-\(UUID().uuidString)"
    defer { try? FileManager.default.removeItem(atPath: path) }
    let key = try PrivateKey.generate()
    try key.write(to: path)
    let before = SecretMemory.used
    let read = try PrivateKey(contentsOf: path)
    #expect(read.keyHash == key.keyHash)
    #expect(SecretMemory.used > before)
    #expect(throws: CryptoError.self) { try PrivateKey(contentsOf: "/dev/null") }
    #expect(throws: CryptoError.self) { try AtomicFile.readSecret(path, limit: 16) }
  }

  /// VmFlags of the memory at an address (proc(5)).
  private static func flags(at address: UInt) -> [Substring]? {
    guard let bytes = try? AtomicFile.read("/proc/self/smaps", limit: 32 << 20) else { return nil }
    var isThere = false
    for line in String(decoding: bytes, as: UTF8.self).split(separator: "\n") {
      let first = line.split(separator: " ")[0]
      let span = first.split(separator: "-")
      if span.count == 2, let start = UInt(span[0], radix: 16), let end = UInt(span[1], radix: 16) {
        isThere = (start..<end).contains(address)
      } else if isThere, first == "VmFlags:" {
        return Array(line.split(separator: " ").dropFirst())
      }
    }
    return nil
  }
}
