import ArgumentParser
import Crypto
import Service

/// A password that stands in no process list.
struct PasswordFileOption: ParsableArguments {
  @Option(help: "A file whose first line is the password; `-` is standard input.")
  var passwordFile: String

  func read() throws -> String {
    do throws(CryptoError) {
      let path = passwordFile == "-" ? "/dev/stdin" : passwordFile
      let text = String(decoding: try AtomicFile.read(path, limit: 4096), as: UTF8.self)
      return String(text.prefix { !$0.isNewline })
    } catch {
      throw fail("the password file can't be read: \(error)", .data)
    }
  }
}
