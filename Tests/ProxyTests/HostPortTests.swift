import Testing

@testable import Proxy

@Suite struct HostPortTests {
  @Test(
    arguments: [
      ("gm.example:443", "gm.example", 443), ("192.0.2.1:8443", "192.0.2.1", 8443),
      ("[2001:db8::1]:443", "2001:db8::1", 443), ("a_b-c.d:1", "a_b-c.d", 1),
    ] as [(String, String, UInt16)])
  func reads(_ text: String, _ host: String, _ port: UInt16) {
    let server = HostPort(text)
    #expect(server?.host == host && server?.port == port)
    #expect(server?.description == text)
  }

  @Test func takesTheDefaultPort() {
    #expect(HostPort("gm.example", defaultPort: 443)?.port == 443)
    #expect(HostPort("[::1]", defaultPort: 443)?.description == "[::1]:443")
    #expect(HostPort("gm.example") == nil)
  }

  @Test(arguments: [
    "", ":443", "gm.example:", "gm.example:0", "gm.example:65536", "gm.example:+1", "::1:443", "[::1", "[1.2.3.4]:1",
    "a b:1", "a\r\nX: y:1", "a..b:1", "gm:44x", "[::1]x:1", "ü.example:1",
  ])
  func refuses(_ text: String) {
    #expect(HostPort(text) == nil)
  }

  @Test func readsProxies() throws {
    let plain = try ProxyConfiguration(parsing: "HTTP://proxy.example:3128/")
    #expect(plain == ProxyConfiguration(server: HostPort("proxy.example:3128")!))
    let full = try ProxyConfiguration(parsing: "http://ann%40corp:p%3Aa@ss@[::1]:8080")
    #expect(full.credentials == .init(user: "ann@corp", password: "p:a@ss"))
    #expect(full.description == "http://ann@corp:***@[::1]:8080")
    #expect(try ProxyConfiguration(parsing: "http://proxy").server.port == 80)
  }

  @Test func refusesProxiesWithTheReason() {
    #expect(throws: ProxyConfiguration.ParseError.scheme) { try ProxyConfiguration(parsing: "https://proxy:1") }
    #expect(throws: ProxyConfiguration.ParseError.server("pro xy:1")) {
      try ProxyConfiguration(parsing: "http://u:p@pro xy:1")
    }
    #expect(throws: ProxyConfiguration.ParseError.credentials) { try ProxyConfiguration(parsing: "http://u:%0d@p:1") }
    #expect(throws: ProxyConfiguration.ParseError.credentials) { try ProxyConfiguration(parsing: "http://u:%4@p:1") }
  }
}
