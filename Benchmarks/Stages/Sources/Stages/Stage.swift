/// A stage of the data path alone, driven with input that is the same each time.
public protocol Stage: ~Copyable {
  /// Makes what `run` needs. Isn't measured.
  mutating func prepare(_ operations: Int) throws
  /// What is measured.
  mutating func run(_ operations: Int) throws
  /// Operations that came to their end since the stage was made: shows that what was measured was done.
  var completed: Int { get }
}

extension Stage where Self: ~Copyable {
  public mutating func prepare(_ operations: Int) throws {}
}

/// A stage as it is listed, before it is set up.
public struct StageDescription: Sendable {
  /// Names the stage in figures, thresholds and command lines.
  public let name: String
  /// Payload bytes of one operation; 0 where bytes don't matter.
  public let bytes: Int
  /// Operations whose instructions and allocations are counted: enough that what happens now and then has its share.
  public let counted: Int
  /// Whether the counts are the same each time.
  public let isRepeatable: Bool
  private let make: @Sendable () throws -> any StageRunner

  init<S: Stage & ~Copyable & SendableMetatype>(
    _ name: String, bytes: Int = 0, counted: Int, isRepeatable: Bool = true,
    _ make: @escaping @Sendable () throws -> S
  ) {
    self.name = name
    self.bytes = bytes
    self.counted = counted
    self.isRepeatable = isRepeatable
    self.make = { StageBox(try make()) }
  }

  public func setUp() throws -> any StageRunner { try make() }
}

/// A stage that is set up.
public protocol StageRunner: AnyObject {
  /// To be called before each `run`, with as many operations.
  func prepare(_ operations: Int) throws
  func run(_ operations: Int) throws
  var completed: Int { get }
}

/// One indirection, so that a stage's loop works on a value and not on a class's properties.
private final class StageBox<S: Stage & ~Copyable>: StageRunner {
  private var stage: S

  init(_ stage: consuming S) {
    self.stage = stage
  }

  func prepare(_ operations: Int) throws { try stage.prepare(operations) }
  func run(_ operations: Int) throws { try stage.run(operations) }
  var completed: Int { stage.completed }
}

/// A stage that doesn't do what it is there for.
public struct StageFailure: Error, CustomStringConvertible {
  public let description: String

  public init(_ description: String) {
    self.description = description
  }
}
