internal import Crypto
internal import Glibc
internal import Kernel
internal import Primitives

/// What a service costs the machine: as the kernel counts it, see proc(5).
public struct ProcessReport: Codable, Hashable, Sendable {
  public var pid: Int32
  /// Seconds since 1970.
  public var since: Int64
  public var cpuSeconds: Double
  public var residentBytes: UInt64
  public var threads: Int
  public var descriptors: Int
  public var descriptorLimit: Int
  /// `nil` from a service that is older than this.
  public var confinement: ConfinementReport?

  /// `nil` where there is no /proc.
  public static var current: ProcessReport? {
    guard let bytes = try? AtomicFile.read("/proc/self/stat", limit: 4096) else { return nil }
    let ticks = max(1, sysconf(CInt(_SC_CLK_TCK)))
    guard var report = ProcessReport(stat: String(decoding: bytes, as: UTF8.self), ticksPerSecond: ticks) else {
      return nil
    }
    // Both clocks count since the machine was started, sleep included.
    report.since = Clock.unixSeconds - (Clock.now.nanoseconds / 1_000_000_000 - report.since)
    report.descriptors = openDescriptors
    report.confinement = .current
    var limit = rlimit()
    if unsafe getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 {
      report.descriptorLimit = Int(clamping: limit.rlim_cur)
    }
    return report
  }

  /// Reads the line of /proc/PID/stat. `since` is then in seconds since the machine was started.
  init?(stat line: String, ticksPerSecond: Int) {
    // The second field is the program's name, which may hold spaces and parentheses.
    guard let end = line.lastIndex(of: ")"), let pid = Int32(line.prefix { $0 != " " }) else { return nil }
    let fields = line[line.index(after: end)...].split(separator: " ")
    func field(_ number: Int) -> UInt64? { number - 3 < fields.count ? UInt64(fields[number - 3]) : nil }
    guard let user = field(14), let system = field(15), let threads = field(20), let start = field(22),
      let pages = field(24)
    else { return nil }
    self.pid = pid
    since = Int64(clamping: start / UInt64(ticksPerSecond))
    cpuSeconds = Double(user &+ system) / Double(ticksPerSecond)
    residentBytes = pages &* UInt64(sysconf(CInt(_SC_PAGESIZE)))
    self.threads = Int(clamping: threads)
    descriptors = 0
    descriptorLimit = 0
  }

  private static var openDescriptors: Int {
    guard let directory = unsafe opendir("/proc/self/fd") else { return 0 }
    defer { unsafe closedir(directory) }
    var count = 0
    while let entry = unsafe readdir(directory) {
      if unsafe entry.pointee.d_name.0 != CChar(UInt8(ascii: ".")) { count += 1 }
    }
    // The one that reads the directory isn't the service's.
    return max(0, count - 1)
  }

  /// A line or two, for people.
  public var text: String {
    "process \(pid): \(Quantity.bytes(residentBytes)) resident, \(Quantity.seconds(cpuSeconds)) of CPU, "
      + "\(threads) threads, \(descriptors) of \(descriptorLimit) descriptors"
      + (confinement.map { "\n\($0.text)" } ?? "")
  }

  /// What is wrong, if anything is.
  public var problems: [String] {
    guard descriptorLimit > 0, descriptors * 10 >= descriptorLimit * 9 else { return [] }
    return ["\(descriptors) of \(descriptorLimit) descriptors are in use: raise the limit (LimitNOFILE, ulimit -n)"]
  }

  /// The names that Prometheus' client libraries agree on.
  public static let metrics: [MetricTable<ProcessReport>.Row] = [
    .counter("process_cpu_seconds_total", "CPU time of the service.") { [.seconds($0.cpuSeconds)] },
    .gauge("process_resident_memory_bytes", "Resident memory.") { [.value($0.residentBytes)] },
    .gauge("process_open_fds", "Open descriptors.") { [.value($0.descriptors)] },
    .gauge("process_max_fds", "Descriptors that may be open.") { [.value($0.descriptorLimit)] },
    .gauge("process_threads", "Threads.") { [.value($0.threads)] },
    .gauge("process_start_time_seconds", "When the service was started, in seconds since 1970.") {
      [.value($0.since)]
    },
  ]
}
