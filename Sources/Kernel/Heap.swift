import CLinux

/// The memory that the C library manages.
public enum Heap {
  /// Gives free pages back to the system, where the C library would keep them for later.
  ///
  /// Takes milliseconds: for when something large has ended, never for the packet path.
  public static func trim() {
    clinux_trim_heap()
  }
}
