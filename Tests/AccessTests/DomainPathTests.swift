import Testing

@testable import Access

@Suite struct DomainPathTests {
  @Test func readsWhatItWrites() throws {
    for text in ["ROOT", "ROOT.AcmeInc", "ROOT.AcmeInc.Line1", "ROOT.a-b_c.9"] {
      #expect(DomainPath(text)?.description == text)
    }
    for text in ["", "root", "ROOT.", ".ROOT", "ROOT..a", "ROOT.a b", "Acme", "ROOT.é", "ROOT.a/b", "ROOT\n"] {
      #expect(DomainPath(text) == nil, "\(text)")
    }
    let line = try #require(DomainPath("ROOT.AcmeInc.Line1"))
    #expect(line.name == "Line1" && line.parent?.description == "ROOT.AcmeInc" && line.depth == 3)
    #expect(line.upwards.map(\.description) == ["ROOT.AcmeInc.Line1", "ROOT.AcmeInc", "ROOT"])
    #expect(DomainPath.root.parent == nil && DomainPath.root.name == "ROOT")
  }

  @Test func containsWhatIsBelowAndNothingElse() throws {
    let acme = try #require(DomainPath("ROOT.Acme"))
    let line = try #require(DomainPath("ROOT.Acme.Line1"))
    #expect(acme.contains(acme) && acme.contains(line))
    #expect(DomainPath.root.contains(acme) && !acme.contains(.root))
    for other in ["ROOT.AcmeInc", "ROOT.AcmeInc.Acme"] { #expect(!acme.contains(try #require(DomainPath(other)))) }
  }

  @Test func depthAndNamesAreBounded() throws {
    var path = DomainPath.root
    while path.depth < AccessLimits.domainDepth { path = try #require(path.child("d")) }
    #expect(path.child("d") == nil && DomainPath(path.description + ".d") == nil)
    let longest = String(repeating: "n", count: AccessLimits.domainNameBytes)
    #expect(DomainPath.root.child(longest) != nil && DomainPath.root.child(longest + "n") == nil)
    #expect(DomainPath.root.child("a.b") == nil && DomainPath.root.child("") == nil)
    #expect(DomainPath("ROOT." + String(repeating: "x", count: 1 << 20)) == nil)
  }
}
