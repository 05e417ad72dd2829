import Foundation
import Testing

/// The claim of ARCHITECTURE.md that every bound is reached by a test.
@Suite struct BoundsTableTests {
  /// The rows of the section's tables, each as its cells.
  private func rows() throws -> [[String]] {
    let page = try String(contentsOf: Place.root.appending(path: "ARCHITECTURE.md"), encoding: .utf8)
    let section = try #require(page.firstRange(of: "\n## Bounds\n"))
    let rest = page[section.upperBound...]
    let lines = rest[..<(rest.firstRange(of: "\n## ")?.lowerBound ?? rest.endIndex)].split(separator: "\n")
    return lines.filter { $0.hasPrefix("| ") && !$0.hasPrefix("| bound ") }.map { line in
      line.dropFirst().dropLast().split(separator: "|").map { $0.trimmingCharacters(in: .whitespaces) }
    }
  }

  /// The text of the test files, by name.
  private func testFiles() throws -> [String: String] {
    let tests = Place.root.appending(path: "Tests")
    let paths = try FileManager.default.subpathsOfDirectory(atPath: tests.path).filter { $0.hasSuffix("Tests.swift") }
    return Dictionary(
      try paths.map { path in
        let url = tests.appending(path: path)
        return (url.deletingPathExtension().lastPathComponent, try String(contentsOf: url, encoding: .utf8))
      }, uniquingKeysWith: +)
  }

  @Test("every bound names the tests that reach it, and they are there")
  func everyBoundIsReached() throws {
    let (rows, files) = (try rows(), try testFiles())
    #expect(rows.count > 90)
    for row in rows {
      guard row.count == 4 else {
        Issue.record("not four cells: \(row)")
        continue
      }
      let names = row[3].split(separator: ",").map { $0.trimmingCharacters(in: .whitespaces) }
      #expect(!names.isEmpty, "\(row[0])")
      for name in names {
        // `FileTests/function`, or all of a file.
        let parts = name.trimmingCharacters(in: ["`"]).split(separator: "/")
        guard let file = parts.first.flatMap({ files[String($0)] }) else {
          Issue.record("\(row[0]): there is no \(name)")
          continue
        }
        if parts.count > 1 { #expect(file.contains("func \(parts[1])("), "\(row[0]): there is no \(name)") }
      }
    }
  }
}
