/// One thing that is wrong in a configuration file, in the form that compilers use: file:line:column.
public struct ConfigurationProblem: Error, Hashable, Sendable, CustomStringConvertible {
  public let file: String
  /// From 1; 0 when it is the file as a whole.
  public let line, column: Int
  /// The field's path, such as `agents[2].tcp[1]`; empty for the file as a whole.
  public let field: String
  /// What is wrong and what to write instead.
  public let message: String

  public var description: String {
    let place = line > 0 ? "\(file.escaped):\(line):\(column)" : file.escaped
    return field.isEmpty ? "\(place): \(message)" : "\(place): \(field): \(message)"
  }
}

/// All that is wrong in a configuration file.
public struct ConfigurationError: Error, Hashable, Sendable, CustomStringConvertible {
  /// In the order of the file; at least one.
  public let problems: [ConfigurationProblem]

  /// One line a problem.
  public var description: String { problems.map(\.description).joined(separator: "\n") }
}
