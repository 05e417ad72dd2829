import Glibc
import Kernel
import Testing

@testable import Tun

@Suite struct TunErrorTests {
  @Test func `a missing driver is said with the way out`() {
    let error = #expect(throws: TunError.self) {
      let device = try TunDevice(opening: TunConfiguration(path: "/dev/net/no-such-device"))
      _ = device.name
    }
    #expect(error?.cause == .system(ENOENT))
    #expect(error?.description.contains("modprobe tun") == true)
    #expect(error?.description.contains("/dev/net/no-such-device") == true)
  }

  @Test func `a missing privilege is recognised whoever reports it`() {
    let errors = [
      TunError(SystemError(call: "ioctl(TUNSETIFF)", subject: "relay0", code: EPERM)),
      TunError(call: "rtnl_link_change", device: "link 3", cause: .netlink(28)),
    ]
    for error in errors {
      #expect(error.isNotPermitted)
      #expect(error.description.contains("CAP_NET_ADMIN"))
    }
  }

  @Test func `the message of a library is kept`() {
    let error = TunError(call: "pcap_compile", device: "bad", cause: .capture("syntax error"))
    #expect(error.description == "pcap_compile bad: syntax error")
    #expect(error.remedy == nil && !error.isNotPermitted)
  }
}
