extension StringProtocol {
  /// The beginning of a text, cut between Unicode scalars.
  ///
  /// Not between characters: one of them may be as long as a peer likes, by marks that combine with it.
  /// - Parameter limit: bytes of UTF-8 that are kept at most.
  public func prefix(bytes limit: Int) -> String {
    guard utf8.count > limit else { return String(self) }
    var kept = String.UnicodeScalarView()
    var left = limit
    for scalar in unicodeScalars {
      left -= UTF8.width(scalar)
      guard left >= 0 else { break }
      kept.append(scalar)
    }
    return String(kept)
  }
}
