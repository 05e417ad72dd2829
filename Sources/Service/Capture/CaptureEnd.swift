public import Logging
public import Tun

extension Capture {
  /// What its end says in a log.
  ///
  /// - Parameter user: who asked for it; not said if `nil`.
  public func metadata(of end: CaptureEnd, by user: String? = nil) -> Logger.Metadata {
    let counters = counters
    var metadata: Logger.Metadata = [
      "reason": "\(end)", "packets": "\(counters.captured)", "bytes": "\(counters.bytes)",
      "dropped": "\(counters.dropped)",
    ]
    if let user { metadata["by"] = "\(user)" }
    return metadata
  }
}
