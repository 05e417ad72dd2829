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
    if CommandLine.arguments.dropFirst().first == "--bulk" {
      return runBulk(Array(CommandLine.arguments.dropFirst(2)))
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

  /// `--bulk FILE SECONDS LIMIT SEED FOLDER`: the inputs as digits, one a line.
  private static func runBulk(_ arguments: [String]) {
    guard arguments.count == 5, let file = fopen(arguments[0], "r"), let seconds = Int(arguments[1]),
      let limit = Int(arguments[2]), let seed = UInt64(arguments[3])
    else { fatalError("--bulk FILE SECONDS LIMIT SEED FOLDER") }
    var inputs: [[UInt8]] = []
    var line: UnsafeMutablePointer<CChar>?
    var capacity = 0
    while getline(&line, &capacity, file) > 0, let text = line {
      guard text[0] != 0x23 else { continue }
      var bytes: [UInt8] = []
      var index = 0
      while let high = digit(text[index]), let low = digit(text[index + 1]) {
        bytes.append(high << 4 | low)
        index += 2
      }
      inputs.append(bytes)
    }
    Bulk.run(
      Self.run, inputs: inputs, seconds: seconds, limit: limit, seed: seed, artifacts: arguments[4])
  }

  private static func digit(_ character: CChar) -> UInt8? {
    switch UInt8(bitPattern: character) {
    case let digit where (0x30...0x39).contains(digit): digit - 0x30
    case let letter where (0x61...0x66).contains(letter): letter - 0x61 + 10
    default: nil
    }
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
