import Framing
import Kernel
import Primitives
import Testing

@testable import Proxy

@Suite(.timeLimit(.minutes(1))) struct SiteSessionTests {
  @Test func newRulesCutWhatTheyNoLongerPermit() throws {
    let server = try LocalServer.echo(connections: 2)
    let port = server.endpoint.port
    var link = try LinkEnd.join(rules: [LinkEnd.rule("a", server.endpoint), LinkEnd.rule("b", server.endpoint)])
    let first = try link.reach("a", port)
    let second = try link.reach("b", port)

    link.site.replaceRules([LinkEnd.rule("b", server.endpoint)])
    let end = try link.next { if case .reset = $0 { true } else { false } }
    #expect(end == .reset(first, .revoked))

    // The other one goes on, and the first agent is gone for good.
    #expect(try link.echoes(second))
    let third = try link.open("a", port)
    #expect(try link.refusal(of: third)?.reason == .unknownAgent)

    link.site.end("done")
    let last = try link.next { if case .reset = $0 { true } else { false } }
    #expect(last == .reset(second, .revoked))
    #expect(link.close() == 0)
  }
}
