internal import COpenSSL

/// Where keys are kept: private keys, also those that OpenSSL makes for a handshake, and `SecretBytes`.
public enum SecretMemory {
  /// Room for the keys of one process, in bytes: some hundred thousand of 32 bytes. A key that finds no room isn't made.
  public static let size = 4 << 20

  public enum Protection: Sendable {
    /// Never written to a disk (mlock(2)), not part of core dumps (MADV_DONTDUMP), between pages that can't be touched.
    case locked
    /// Something of that couldn't be had: most likely RLIMIT_MEMLOCK is lower than `size`.
    case unlocked
    /// Keys are on the common heap, and overwritten there when they are let go of.
    case none
  }

  /// Sets it up for the whole process; until then, and in processes that never do, keys are on the common heap. Before
  /// keys are made, since those that there are stay where they are.
  public static func reserve() -> Protection {
    switch CRYPTO_secure_malloc_init(size, 32) {
    case 1: .locked
    case 2: .unlocked
    default: CRYPTO_secure_malloc_initialized() == 1 ? .locked : .none
    }
  }

  /// Bytes in use.
  public static var used: Int { CRYPTO_secure_used() }
}
