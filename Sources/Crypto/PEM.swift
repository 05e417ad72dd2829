internal import COpenSSL

/// A memory BIO: bytes that OpenSSL's readers and writers work on.
@safe struct MemoryBIO: ~Copyable {
  let pointer: OpaquePointer

  private init(owning pointer: OpaquePointer) {
    unsafe self.pointer = pointer
  }

  static func make() throws(CryptoError) -> MemoryBIO {
    guard let made = unsafe BIO_new(BIO_s_mem()) else { throw .last("BIO") }
    return unsafe MemoryBIO(owning: made)
  }

  static func make(_ bytes: [UInt8]) throws(CryptoError) -> MemoryBIO {
    let bio = try make()
    guard bytes.count <= Int32.max else { throw CryptoError("BIO", .misuse, reason: "size") }
    guard !bytes.isEmpty else { return bio }
    let written = unsafe bytes.withUnsafeBytes { unsafe BIO_write(bio.pointer, $0.baseAddress, Int32($0.count)) }
    guard Int(written) == bytes.count else { throw .last("BIO") }
    return bio
  }

  /// Lends secret bytes, without a copy, to a body that reads them.
  static func withReader<Result>(
    _ secret: SecretBytes, _ body: (OpaquePointer) throws(CryptoError) -> Result
  ) throws(CryptoError) -> Result {
    try secret.withSpan { (bytes) throws(CryptoError) in
      try unsafe bytes.withUnsafeBytes { (bytes) throws(CryptoError) in
        guard let made = unsafe BIO_new_mem_buf(bytes.baseAddress, Int32(clamping: bytes.count)) else {
          throw .last("BIO")
        }
        let bio = unsafe MemoryBIO(owning: made)
        return try unsafe body(bio.pointer)
      }
    }
  }

  var bytes: [UInt8] {
    var start: UnsafePointer<UInt8>?
    let count = unsafe copenssl_bio_data(pointer, &start)
    return unsafe Array(UnsafeBufferPointer(start: start, count: count))
  }

  deinit {
    unsafe BIO_free_all(pointer)
  }
}

/// The bytes that an i2d function of OpenSSL writes.
func encodedDER(
  _ operation: String, _ encode: (UnsafeMutablePointer<UnsafeMutablePointer<UInt8>?>?) -> Int32
) throws(CryptoError) -> [UInt8] {
  var start: UnsafeMutablePointer<UInt8>?
  let count = unsafe encode(&start)
  guard count >= 0, let first = unsafe start else { throw .last(operation) }
  defer { unsafe copenssl_free(first) }
  return unsafe Array(UnsafeBufferPointer(start: first, count: Int(count)))
}

/// Lets a d2i function of OpenSSL read `der`, and refuses what it leaves over.
func parsedDER(
  _ operation: String, _ der: [UInt8],
  _ decode: (UnsafeMutablePointer<UnsafePointer<UInt8>?>, Int) -> OpaquePointer?,
  free: (OpaquePointer) -> Void
) throws(CryptoError) -> OpaquePointer {
  var left = 0
  let object = unsafe der.withUnsafeBufferPointer { buffer -> OpaquePointer? in
    var cursor = buffer.baseAddress
    let object = unsafe decode(&cursor, buffer.count)
    if let cursor = unsafe cursor, let base = buffer.baseAddress { unsafe left = buffer.count - (cursor - base) }
    return unsafe object
  }
  guard let object = unsafe object else { throw .last(operation, .malformed) }
  guard left == 0 else {
    unsafe free(object)
    throw CryptoError(operation, .malformed, reason: "trailing bytes")
  }
  return unsafe object
}
