// The stack alone on a TUN device, as one end of a TCP connection whose other end is a kernel: sends, takes in or sends
// back, and prints as one JSON object what went and came, how long it took, and what the stack had to do for it.
//
// Exit status: 0 if the connection was closed in order, 1 if it wasn't, 64 for a mistake in the command line.

import Crypto
import Glibc

func hexadecimal(_ bytes: [UInt8]) throws -> String {
  let digits = Array("0123456789abcdef")
  return String(try SHA256.hash(bytes.span).bytes.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] })
}

func run() throws -> Int32 {
  let arguments: Arguments
  do {
    arguments = try Arguments(Array(CommandLine.arguments.dropFirst()))
  } catch {
    print(error.text, Arguments.usage, separator: "\n")
    return 64
  }
  var host = try PeerHost(arguments)
  let outcome = try host.run()
  let counters = host.counters
  let bytes = max(host.sent.count, host.received.count)
  // An echo sends what it has received.
  let sent = arguments.task == .echo ? host.received : host.sent
  print(
    """
    {"outcome": "\(outcome.rawValue)", "bytes": \(bytes), "seconds": \(host.seconds), \
    "sentSHA256": "\(try hexadecimal(sent))", "receivedSHA256": "\(try hexadecimal(host.received))", \
    "segmentsOut": \(counters.segmentsOut), "superSegmentsOut": \(counters.superSegmentsOut), \
    "segmentsIn": \(counters.segmentsIn), "superSegmentsIn": \(counters.superSegmentsIn), \
    "retransmits": \(counters.retransmittedSegments), "timeouts": \(counters.retransmissionTimeouts), \
    "probes": \(counters.tailLossProbes), "spurious": \(counters.spuriousRetransmissions), \
    "outOfOrder": \(counters.outOfOrderSegments), "duplicates": \(counters.dropped(.duplicate)), \
    "notAcceptable": \(counters.dropped(.notAcceptable)), "outOfOrderLimit": \(counters.dropped(.outOfOrderLimit)), \
    "dropped": \(counters.dropped)}
    """)
  return outcome == .closed ? 0 : 1
}

do {
  exit(try run())
} catch {
  print("{\"problem\": \"\(error)\"}")
  exit(1)
}
