import Access
import ArgumentParser

/// What commands take that do one thing to something that has a name.
struct NameAndDirectory: ParsableArguments {
  @Argument(help: "Its name.")
  var name: String
  @OptionGroup var location: DirectoryOption

  func perform(_ operation: Operation) throws {
    try reporting { _ = try location.perform(operation) }
  }
}
