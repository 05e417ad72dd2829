internal import Glibc

/// Questions to the person at the terminal, for commands that may need one.
public enum Terminal {
  /// Whether somebody can be asked.
  public static var isInteractive: Bool {
    isatty(STDIN_FILENO) == 1 && isatty(STDERR_FILENO) == 1
  }

  /// Whether results go to a terminal.
  static var isOutput: Bool { isatty(STDOUT_FILENO) == 1 }

  /// Rows and columns of the terminal that results go to; 24 by 80 if it doesn't tell.
  static var size: (rows: Int, columns: Int) {
    var size = winsize()
    guard unsafe ioctl(STDOUT_FILENO, UInt(TIOCGWINSZ), &size) == 0, size.ws_row > 0, size.ws_col > 0 else {
      return (24, 80)
    }
    return (Int(size.ws_row), Int(size.ws_col))
  }

  /// Asks a question that only "yes" agrees to. `false` if nobody can be asked.
  public static func confirm(_ question: String) -> Bool {
    guard isInteractive else { return false }
    write("\(question) [yes/no] ")
    return readLine()?.lowercased() == "yes"
  }

  /// Reads a line that isn't shown while it is typed; `nil` if nobody can be asked.
  public static func readSecret(_ prompt: String) -> String? {
    guard isInteractive else { return nil }
    write(prompt)
    var before = termios()
    guard unsafe tcgetattr(STDIN_FILENO, &before) == 0 else { return nil }
    var silent = before
    silent.c_lflag &= ~tcflag_t(ECHO)
    unsafe tcsetattr(STDIN_FILENO, TCSAFLUSH, &silent)
    defer {
      unsafe tcsetattr(STDIN_FILENO, TCSAFLUSH, &before)
      write("\n")
    }
    return readLine()
  }

  /// Writes to the standard error, where it doesn't mix with results.
  public static func write(_ text: String) {
    var rest = Array(text.utf8)[...]
    while !rest.isEmpty {
      let count = unsafe rest.withUnsafeBytes { unsafe Glibc.write(STDERR_FILENO, $0.baseAddress, $0.count) }
      guard count > 0 else { return }
      rest = rest.dropFirst(count)
    }
  }
}
