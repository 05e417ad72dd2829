#if canImport(Glibc)
  import Glibc
#endif

/// One fuzzer: what it does with an input, and inputs to begin with.
public protocol FuzzTarget {
  /// Acts on one input. Ends the process by `check` if something that must always hold doesn't.
  static func run(_ bytes: UnsafeBufferPointer<UInt8>)
  /// Inputs that lead deep, made by the product's own encoders where it has some.
  static var seeds: [[UInt8]] { get }
}

@_silgen_name("LLVMFuzzerRunDriver")
private func runDriver(
  _ count: UnsafeMutablePointer<CInt>,
  _ arguments: UnsafeMutablePointer<UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>>,
  _ callback: @convention(c) (UnsafePointer<UInt8>?, Int) -> CInt
) -> CInt

/// What libFuzzer's callback, which can't hold anything itself, leads to. Set once, before it is called.
nonisolated(unsafe) private var entry: (UnsafeBufferPointer<UInt8>) -> Void = { _ in }

extension FuzzTarget {
  /// Runs libFuzzer with the command line's arguments. `--seeds` prints the seeds instead, one a line, as digits.
  public static func main() {
    if CommandLine.arguments.dropFirst().first == "--seeds" {
      for seed in seeds { print(hexadecimal(seed)) }
      return
    }
    entry = Self.run
    var count = CommandLine.argc
    var arguments = CommandLine.unsafeArgv
    exit(
      runDriver(&count, &arguments) { start, count in
        entry(UnsafeBufferPointer(start: start, count: count))
        return 0
      })
  }

  private static func hexadecimal(_ bytes: [UInt8]) -> String {
    let digits = Array("0123456789abcdef".utf8)
    return String(
      unsafeUninitializedCapacity: 2 * bytes.count
    ) { text in
      for (index, byte) in bytes.enumerated() {
        text[2 * index] = digits[Int(byte >> 4)]
        text[2 * index + 1] = digits[Int(byte & 15)]
      }
      return 2 * bytes.count
    }
  }
}

/// Ends the process, so that libFuzzer keeps the input, unless `condition` holds.
@inline(__always)
public func check(
  _ condition: Bool, _ what: @autoclosure () -> String, file: StaticString = #fileID, line: UInt = #line
) {
  if !condition { fatalError(what(), file: file, line: line) }
}
