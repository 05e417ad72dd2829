import Access
import Crypto
import Foundation
import Kernel
import Logging
import Primitives
import Proxy
import Testing

@testable import GateManager

/// The audit on its way to a real rsyslogd, which is killed and comes back.
@Suite(.serialized, .timeLimit(.minutes(3))) struct SyslogSenderTests {
  private static let program = "/usr/sbin/rsyslogd"
  private static let isThere = FileManager.default.isExecutableFile(atPath: program)

  @Test func targetsAsText() throws {
    let key = try PrivateKey.generate().keyHash
    #expect(SyslogTarget("tcp://siem.example", key: nil)?.description == "tcp://siem.example:514")
    #expect(SyslogTarget("tls://siem.example", key: key)?.description == "tls://siem.example:6514")
    #expect(SyslogTarget("tcp://[::1]:1514", key: nil)?.server.port == 1514)
    for text in ["", "siem.example", "udp://siem.example", "tcp://", "tls://siem.example"] {
      #expect(SyslogTarget(text, key: nil) == nil, "\(text)")
    }
    #expect(SyslogTarget("tcp://siem.example", key: key) == nil, "a key that nobody would check")
  }

  /// A receiver in a directory of its own.
  private final class Receiver {
    let directory: String
    let port: UInt16
    private var process: Process?
    let key: PrivateKey?

    init(isTLS: Bool) throws {
      directory = "/tmp/relayvpn-syslog-\(Hex.encode(try Random.bytes(8)))"
      try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: false)
      // A port that is free now.
      let listener = try Socket.listen(on: Endpoint(IPAddress(127, 0, 0, 1), 0))
      let endpoint = Socket.localEndpoint(listener)
      port = try #require(endpoint?.port)
      var configuration = ""
      if isTLS {
        let made = try PrivateKey.generate()
        key = made
        let profile = CertificateProfile(commonName: "siem", usage: .server([.dns("siem")]), now: Clock.unixSeconds)
        let certificate = try Certificate.selfSigned(profile, key: made)
        try made.write(to: "\(directory)/key.pem")
        try Data(certificate.pem.utf8).write(to: URL(filePath: "\(directory)/cert.pem"))
        configuration += """
          global(DefaultNetstreamDriver="ossl" DefaultNetstreamDriverCAFile="\(directory)/cert.pem"
            DefaultNetstreamDriverCertFile="\(directory)/cert.pem" DefaultNetstreamDriverKeyFile="\(directory)/key.pem")
          module(load="imtcp" StreamDriver.Name="ossl" StreamDriver.Mode="1" StreamDriver.AuthMode="anon")

          """
      } else {
        key = nil
        configuration += "module(load=\"imtcp\")\n"
      }
      configuration += """
        input(type="imtcp" address="127.0.0.1" port="\(port)")
        template(name="whole" type="string" string="%rawmsg%\\n")
        *.* action(type="omfile" file="\(directory)/out" template="whole")

        """
      try Data(configuration.utf8).write(to: URL(filePath: "\(directory)/rsyslog.conf"))
    }

    deinit {
      kill()
      try? FileManager.default.removeItem(atPath: directory)
    }

    func start() throws {
      let started = Process()
      started.executableURL = URL(filePath: SyslogSenderTests.program)
      started.arguments = ["-n", "-f", "\(directory)/rsyslog.conf", "-i", "\(directory)/pid"]
      started.standardError = FileHandle.nullDevice
      started.standardOutput = FileHandle.nullDevice
      try started.run()
      process = started
    }

    func kill() {
      guard let process else { return }
      Foundation.kill(process.processIdentifier, SIGKILL)
      process.waitUntilExit()
      self.process = nil
      try? FileManager.default.removeItem(atPath: "\(directory)/pid")
    }

    var lines: [String] {
      let text = (try? Data(contentsOf: URL(filePath: "\(directory)/out"))).map { String(decoding: $0, as: UTF8.self) }
      return (text ?? "").split(separator: "\n").map(String.init)
    }

    /// The numbers of the entries, in the order of their first arrival.
    var numbers: [Int64] {
      var seen: Set<Int64> = []
      return lines.compactMap { line in
        guard let start = line.firstRange(of: "number=\"") else { return nil }
        let number = Int64(line[start.upperBound...].prefix { $0 != "\"" })
        return number.flatMap { seen.insert($0).inserted ? $0 : nil }
      }
    }

    func target() throws -> SyslogTarget {
      try #require(SyslogTarget("\(key == nil ? "tcp" : "tls")://127.0.0.1:\(port)", key: key?.keyHash))
    }
  }

  private func event(_ number: Int) -> AuditLine {
    var event = AuditEvent(.connect, account: "ann")
    event.reason = "number \(number)\n<85>1 forged \"] ["
    return AuditLine(event: event, time: Int64(number))
  }

  @Test(.enabled(if: isThere, "rsyslogd isn't installed"), arguments: [false, true])
  func nothingIsLostAndOrderIsKept(isTLS: Bool) throws {
    let receiver = try Receiver(isTLS: isTLS)
    let store = try AccessStore(path: "\(receiver.directory)/access.sqlite", key: PrivateKey.generate())
    #expect(try store.setUp(time: 0))
    // What was there before the receiver ever was.
    try store.append((2...100).map(event))
    let target = try receiver.target()
    let log = LogRecorder()
    let logger = Logger(label: "syslog") { _ in log.handler }
    var sender = try SyslogSender(store: store, host: "gm.test", target: target, logger: logger)
    #expect(log.told("warning the audit can't be sent; it waits"))
    var number = 101
    for round in 0..<4 {
      try receiver.start()
      for _ in 0..<40 {
        try store.append([event(number)])
        number += 1
        usleep(UInt32.random(in: 0...20_000))
      }
      // At some time within the sending.
      if round < 3 { receiver.kill() }
      if round == 1 {
        // And the service, too.
        sender.stop()
        sender = try SyslogSender(store: store, host: "gm.test", target: target, logger: logger)
      }
    }
    let last = try #require(try store.auditHead()).number
    for _ in 0..<400 where receiver.numbers.count < last { usleep(50_000) }
    #expect(receiver.numbers == Array(1...last))
    #expect(receiver.lines.allSatisfy { $0.hasPrefix("<8") && $0.contains(" gm.test relayvpn-gate - ") })
    print("syslog over \(target): \(last) entries, \(receiver.lines.count) lines")
    // What is settled isn't sent again.
    for _ in 0..<200 where try store.setting(SyslogSender.setting) != "\(last)" { usleep(50_000) }
    #expect(try store.setting(SyslogSender.setting) == "\(last)")
    let before = receiver.lines.count
    sender.stop()
    sender = try SyslogSender(store: store, host: "gm.test", target: target, logger: logger)
    try store.append([event(number)])
    for _ in 0..<200 where receiver.numbers.count <= last { usleep(50_000) }
    #expect(receiver.lines.count == before + 1)
    sender.stop()
  }

  @Test(.enabled(if: isThere, "rsyslogd isn't installed")) func anotherReceiversKeyGetsNothing() throws {
    let receiver = try Receiver(isTLS: true)
    let store = try AccessStore(path: "\(receiver.directory)/access.sqlite", key: PrivateKey.generate())
    try store.append((1...5).map(event))
    try receiver.start()
    let other = try #require(
      SyslogTarget("tls://127.0.0.1:\(receiver.port)", key: try PrivateKey.generate().keyHash))
    // It may take a moment until it listens.
    var isTold = false
    for _ in 0..<5 where !isTold {
      let log = LogRecorder()
      let sender = try SyslogSender(
        store: store, host: "gm.test", target: other, logger: Logger(label: "syslog") { _ in log.handler })
      _ = log.told("warning the audit can't be sent; it waits")
      sender.stop()
      isTold = log.all.contains("the receiver has the key")
      usleep(300_000)
    }
    #expect(isTold && receiver.lines.isEmpty)
  }
}
