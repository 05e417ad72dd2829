import Crypto
import Testing

@testable import Control

@Suite struct OneTimeSecretTests {
  private let secret = OneTimeSecret(Array("12345678901234567890".utf8))!

  /// RFC 6238 appendix B; a code of six digits is the end of one of eight.
  @Test(
    arguments: [
      (59, "94287082"), (1_111_111_109, "07081804"), (1_111_111_111, "14050471"), (1_234_567_890, "89005924"),
      (2_000_000_000, "69279037"), (20_000_000_000, "65353130"),
    ] as [(Int64, String)])
  func knownCodes(time: Int64, code: String) throws {
    #expect(try secret.code(step: OneTimeSecret.step(at: time)) == String(code.suffix(6)))
  }

  /// RFC 4226 appendix D.
  @Test func knownCounters() throws {
    let codes = ["755224", "287082", "359152", "969429", "338314", "254676", "287922", "162583", "399871", "520489"]
    for (counter, code) in codes.enumerated() { #expect(try secret.code(step: Int64(counter)) == code) }
  }

  @Test func aCodeIsGoodForAMomentAndOnce() throws {
    let now: Int64 = 1_800_000_010
    let step = OneTimeSecret.step(at: now)
    for offset in -3...3 as ClosedRange<Int64> {
      let code = try secret.code(step: step + offset)
      let verdict = try secret.judge(code, at: now, used: nil)
      #expect(verdict == (abs(offset) <= OneTimeSecret.window ? .valid(step: step + offset) : .wrong))
      // Used up, with those before it.
      #expect(try secret.judge(code, at: now, used: step + 1) == (abs(offset) <= 1 ? .used : .wrong))
      #expect(
        try secret.judge(code, at: now, used: step)
          == (offset == 1 ? .valid(step: step + 1) : verdict == .wrong ? .wrong : .used))
    }
    let code = try secret.code(step: step)
    #expect(try secret.judge("\(code.prefix(3)) \(code.suffix(3))", at: now, used: nil) == .valid(step: step))
    for wrong in [
      "", "0", code + "0", String(code.dropLast()), "abcdef", "١٢٣٤٥٦", String(repeating: "1", count: 10_000),
    ] {
      #expect(try secret.judge(wrong, at: now, used: nil) == .wrong, "\(wrong.prefix(20))")
    }
    #expect(try secret.judge(try secret.code(step: 0), at: -5, used: nil) == .valid(step: 0))
  }

  @Test func appsAreTold() throws {
    #expect(
      secret.uri(issuer: "gm.example", account: "ann") == "otpauth://totp/gm.example:ann"
        + "?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=gm.example&algorithm=SHA1&digits=6&period=30")
    #expect(secret.uri(issuer: "a b/ä", account: "x").hasPrefix("otpauth://totp/a%20b%2F%C3%A4:x?"))
    #expect(!"\(secret)".contains("GEZD") && !String(reflecting: [secret]).contains("49"))
    #expect(OneTimeSecret([UInt8](repeating: 1, count: 15)) == nil)
    #expect(OneTimeSecret([UInt8](repeating: 1, count: 65)) == nil)
    #expect(try OneTimeSecret.random() != OneTimeSecret.random())
    // RFC 4648 section 10.
    for (text, code) in [
      ("", ""), ("f", "MY"), ("fo", "MZXQ"), ("foo", "MZXW6"), ("foob", "MZXW6YQ"), ("fooba", "MZXW6YTB"),
      ("foobar", "MZXW6YTBOI"),
    ] { #expect(Base32.encode(Array(text.utf8)) == code) }
  }
}
