import Crypto
import Service
import Testing

@testable import LinkManager

@Suite struct KnownSitesTests {
  private let gate = KeyHash([UInt8](repeating: 1, count: 32))!
  private let first = KeyHash([UInt8](repeating: 2, count: 32))!
  private let second = KeyHash([UInt8](repeating: 3, count: 32))!

  @Test func theFirstKeyIsPinned() throws {
    var known = KnownSites()
    #expect(try known.judge(first, of: "plant-7", at: gate))
    #expect(try !known.judge(first, of: "plant-7", at: gate), "nothing new")
    #expect(try known.judge(second, of: "plant-7", at: second), "another GateManager's site of that name")
  }

  @Test func anotherKeyIsRefusedUntilTheFirstIsForgotten() throws {
    var known = KnownSites()
    _ = try known.judge(first, of: "plant-7", at: gate)
    let error = #expect(throws: CommandFailure.self) { _ = try known.judge(second, of: "plant-7", at: gate) }
    #expect(error?.exitCode == .notPermitted)
    for part in ["plant-7", "\(first)", "\(second)", "linkmanager forget plant-7"] {
      #expect(error?.description.contains(part) == true, "\(part)")
    }
    let (forgotten, again) = (known.forget("plant-7", at: gate), known.forget("plant-7", at: gate))
    #expect(forgotten && !again)
    #expect(try known.judge(second, of: "plant-7", at: gate))
  }
}
