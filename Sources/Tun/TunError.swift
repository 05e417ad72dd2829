internal import CNetlink
import Glibc
import Kernel

/// A device, link or capture call that failed: which one, on what, why, and what to do about it.
public struct TunError: Error, Hashable, Sendable, CustomStringConvertible {
  public enum Cause: Hashable, Sendable {
    /// The value of `errno`.
    case system(Int32)
    /// An error of libnl (netlink/errno.h), as a positive number.
    case netlink(Int32)
    /// What libpcap says.
    case capture(String)
    /// The descriptor is not one of /dev/net/tun, or not attached to a device.
    case notADevice
    /// The descriptor was opened without IFF_NO_PI: its packets have a prefix that this package doesn't speak.
    case packetInformation
    /// The descriptor's vnet header has a size that is out of range, in bytes.
    case vnetHeaderSize(Int)
    /// The interface has no Ethernet frames: a tunnel, a modem.
    case notEthernet
    /// The name is empty, longer than 15 bytes, or holds a slash or a blank.
    case badName
    /// An argument is out of its range; the text names it.
    case badArgument(String)
  }

  /// The call's name, as in its manual page.
  public let call: String
  /// The device, path or address that it was for; empty if that says nothing.
  public let device: String
  public let cause: Cause

  public init(call: String, device: String = "", cause: Cause) {
    self.call = call
    self.device = device
    self.cause = cause
  }

  init(_ error: SystemError, device: String = "") {
    self.init(call: error.call, device: device.isEmpty ? error.subject : device, cause: .system(error.code))
  }

  /// Whether a privilege is missing.
  public var isNotPermitted: Bool {
    switch cause {
    case .system(EPERM), .system(EACCES), .netlink(Code.permission.rawValue): true
    default: false
    }
  }

  /// Whether the address or route is there already.
  public var alreadyExists: Bool {
    switch cause {
    case .system(EEXIST), .netlink(Code.exists.rawValue): true
    default: false
    }
  }

  /// Whether the device, address or route is not (or no longer) there.
  public var notFound: Bool {
    switch cause {
    case .system(ENODEV), .system(ENXIO), .system(EBADFD), .system(ENOENT), .system(EADDRNOTAVAIL), .system(ESRCH):
      true
    case .netlink(Code.objectNotFound.rawValue), .netlink(Code.noDevice.rawValue),
      .netlink(Code.noAddress.rawValue):
      true
    default: false
    }
  }

  /// Whether the interface is there, but down; a packet socket says the same of one that has just gone.
  public var isDown: Bool { cause == .system(ENETDOWN) }

  /// What a person can do about it; `nil` when only the message helps.
  public var remedy: String? {
    switch cause {
    case _ where isNotPermitted:
      "run as root, or with the capabilities CAP_NET_ADMIN (devices, links) and CAP_NET_RAW (capture, raw Ethernet)"
    case .system(ENOENT) where call == "open", .system(ENXIO) where call == "open",
      .system(ENODEV) where call == "open":
      "load the driver with `modprobe tun`; in a container, pass the device with `--device /dev/net/tun`"
    case .system(ENODEV) where call == "if_nametoindex":
      "the name has to be that of an interface of this host: `ip link` lists them"
    case .system(ENETDOWN): "set it up with `ip link set \(device) up`"
    case .notEthernet: "choose an interface with Ethernet frames"
    case .system(EBUSY) where call == "ioctl(TUNSETIFF)":
      "another program holds the device: choose another name, or stop that program"
    case .system(EBADFD): "the device was deleted: open it again"
    case .notADevice: "pass a descriptor of /dev/net/tun on which TUNSETIFF was done"
    case .packetInformation: "open the device with IFF_NO_PI"
    case .vnetHeaderSize: "set a size of 10 with TUNSETVNETHDRSZ"
    default: nil
    }
  }

  public var description: String {
    let reason =
      switch cause {
      case .system(let code): unsafe String(cString: strerror(code))
      case .netlink(let code): unsafe String(cString: nl_geterror(code))
      case .capture(let message): message
      case .notADevice: "not a TUN or TAP descriptor"
      case .packetInformation: "packets carry a packet information prefix"
      case .vnetHeaderSize(let size): "vnet header of \(size) bytes"
      case .notEthernet: "not an Ethernet interface"
      case .badName: "not a device name"
      case .badArgument(let text): text
      }
    let subject = device.isEmpty ? call : "\(call) \(device)"
    return remedy.map { "\(subject): \(reason) (\($0))" } ?? "\(subject): \(reason)"
  }

  /// The numbers of netlink/errno.h that a caller may want to tell apart.
  enum Code: Int32 {
    case exists = 6
    case objectNotFound = 12
    case noAddress = 19
    case permission = 28
    case noDevice = 31
  }
}
