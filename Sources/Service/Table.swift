/// Rows under a heading, in columns as wide as their widest cell. What peers have supplied is escaped.
public struct Table: CustomStringConvertible, Sendable {
  private let heading: [String]
  private var rows: [[String]] = []

  public init(_ heading: String...) {
    self.heading = heading
  }

  public var isEmpty: Bool { rows.isEmpty }

  /// Adds a row; missing cells are empty, surplus ones are dropped.
  public mutating func append(_ cells: String...) {
    rows.append((0..<heading.count).map { $0 < cells.count ? cells[$0].escaped : "" })
  }

  public var description: String {
    let all = [heading] + rows
    let widths = heading.indices.map { column in all.map { $0[column].count }.max() ?? 0 }
    return all.map { row in
      var line = ""
      for (column, cell) in row.enumerated() {
        line += column == row.count - 1 ? cell : cell + String(repeating: " ", count: widths[column] - cell.count + 2)
      }
      while line.last == " " { line.removeLast() }
      return line
    }.joined(separator: "\n")
  }
}
