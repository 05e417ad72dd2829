internal import Primitives

/// What `status --watch` writes next. Holds no descriptor and reads no clock.
struct StatusWatch {
  enum Style {
    /// A terminal: drawn anew in place.
    case screen
    /// A pipe or a file: one block each time.
    case blocks
    /// JSON, one object a line.
    case lines
  }

  let style: Style
  private var hasAnswered = false
  private var awaySince: Instant?

  init(style: Style) {
    self.style = style
  }

  /// - Parameters:
  ///   - answer: the service's, as text or as a line of JSON.
  ///   - seconds: until the next time.
  ///   - size: of the terminal.
  /// - Returns: what to write. Nothing while the service stays away, but on a screen.
  /// - Throws: what can't get better by waiting, and the first time whatever is wrong.
  mutating func show(
    _ answer: Result<String, ManagementError>, every seconds: Double, now: Instant, unixSeconds: Int64,
    size: (rows: Int, columns: Int)
  ) throws(ManagementError) -> String {
    let time = Timestamp.text(unixSeconds: unixSeconds)
    switch answer {
    case .success(let text):
      var notice = ""
      if let away = awaySince.take() { notice = "the service is back after \(Quantity.age(now - away))" }
      hasAnswered = true
      let heading = "\(time), every \(Quantity.seconds(seconds))"
      switch style {
      case .screen: return Self.frame([heading + (notice.isEmpty ? "" : ": \(notice)"), "", text], size)
      case .blocks: return "--- \(heading)\n" + (notice.isEmpty ? "" : "\(notice)\n") + "\(text)\n"
      case .lines: return text + "\n"
      }
    case .failure(let error):
      guard hasAnswered, error.isTransient else { throw error }
      let isNew = awaySince == nil
      let since = awaySince ?? now
      awaySince = since
      switch style {
      case .screen:
        return Self.frame(["\(time): no answer for \(Quantity.age(now - since)), waiting", "", "\(error)"], size)
      case .blocks: return isNew ? "--- \(time)\n\(error)\n" : ""
      case .lines:
        return isNew ? (try? Output.jsonLine(["problem": "\(error)", "time": time])).map { $0 + "\n" } ?? "" : ""
      }
    }
  }

  /// What to leave behind when stopped.
  var farewell: String { style == .screen ? "\n" : "" }

  /// Draws from the upper left corner, clears what was there before, and cuts what doesn't fit: a line that wrapped, or a
  /// screen that scrolled, would leave parts of the last picture (ECMA-48: CUP, EL, ED).
  static func frame(_ parts: [String], _ size: (rows: Int, columns: Int)) -> String {
    var lines = parts.joined(separator: "\n").split(separator: "\n", omittingEmptySubsequences: false)
    while lines.last?.isEmpty == true { lines.removeLast() }
    var hidden = 0
    if lines.count > size.rows - 1 {
      hidden = lines.count - max(1, size.rows - 2)
      lines.removeLast(hidden)
    }
    var text = "\u{1B}[H"
    for line in lines { text += line.prefix(max(1, size.columns)) + "\u{1B}[K\n" }
    if hidden > 0 { text += "… \(hidden) more lines\u{1B}[K\n" }
    return text + "\u{1B}[J"
  }
}

extension ManagementError {
  /// Whether the same request may be answered later.
  var isTransient: Bool {
    switch self {
    case .notRunning, .timedOut, .interrupted, .system: true
    case .malformed, .otherVersion, .notPermitted, .refused: false
    }
  }
}
