import Glibc
import Primitives

/// Room for any socket address, and the two kinds that this package speaks.
struct SocketAddress {
  private var storage = sockaddr_storage()
  private var length: CUnsignedInt

  /// Room for an address that the kernel fills in.
  init() {
    length = CUnsignedInt(MemoryLayout<sockaddr_storage>.size)
  }

  init(_ endpoint: Endpoint) {
    length = 0
    if endpoint.address.family == .v4 {
      var address = sockaddr_in()
      address.sin_family = sa_family_t(AF_INET)
      address.sin_port = endpoint.port.bigEndian
      address.sin_addr.s_addr = UInt32(endpoint.address.value).bigEndian
      unsafe withUnsafeMutableBytes(of: &storage) { unsafe $0.storeBytes(of: address, as: sockaddr_in.self) }
      length = CUnsignedInt(MemoryLayout<sockaddr_in>.size)
    } else {
      // sockaddr_in6: family 2, port 2, flow 4, address 16, scope 4 bytes.
      unsafe withUnsafeMutableBytes(of: &storage) { bytes in
        unsafe bytes.storeBytes(of: sa_family_t(AF_INET6), as: sa_family_t.self)
        unsafe bytes.storeBytes(of: endpoint.port.bigEndian, toByteOffset: 2, as: UInt16.self)
        unsafe bytes.storeBytes(of: endpoint.address.value.bigEndian, toByteOffset: 8, as: UInt128.self)
      }
      length = 28
    }
  }

  /// Copies an address that the C library made.
  init(at address: UnsafePointer<sockaddr>, count: Int) {
    length = CUnsignedInt(min(count, MemoryLayout<sockaddr_storage>.size))
    let size = Int(length)
    unsafe withUnsafeMutableBytes(of: &storage) { bytes in
      unsafe bytes.copyMemory(from: UnsafeRawBufferPointer(start: address, count: size))
    }
  }

  /// Lends the bytes and their count to a system call, which may change both.
  mutating func withBytes<R>(_ body: (UnsafeMutableRawPointer, UnsafeMutablePointer<CUnsignedInt>) -> R) -> R {
    unsafe withUnsafeMutablePointer(to: &length) { length in
      unsafe withUnsafeMutableBytes(of: &storage) { unsafe body($0.baseAddress.unsafelyUnwrapped, length) }
    }
  }

  /// `nil` for a family other than IPv4 and IPv6. An IPv4-mapped address is given as IPv4.
  var endpoint: Endpoint? {
    unsafe withUnsafeBytes(of: storage) { bytes in
      let port = unsafe UInt16(bigEndian: bytes.loadUnaligned(fromByteOffset: 2, as: UInt16.self))
      switch CInt(storage.ss_family) {
      case AF_INET:
        return Endpoint(
          IPAddress(v4: unsafe UInt32(bigEndian: bytes.loadUnaligned(fromByteOffset: 4, as: UInt32.self))), port)
      case AF_INET6:
        let value = unsafe UInt128(bigEndian: bytes.loadUnaligned(fromByteOffset: 8, as: UInt128.self))
        let address = IPAddress(v6: value)
        return Endpoint(address.isV4Mapped ? IPAddress(v4: UInt32(truncatingIfNeeded: value)) : address, port)
      default: return nil
      }
    }
  }
}
