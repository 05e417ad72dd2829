internal import CYAML

/// A YAML document as libyaml's tree of nodes, each with its place in the text.
///
/// Nodes are looked at where they are: an alias is the node that it names, so that no text unfolds into more memory than
/// libyaml took to read it.
@safe final class YAMLDocument {
  private var document: yaml_document_t

  private init(_ document: yaml_document_t) {
    unsafe self.document = document
  }

  deinit {
    unsafe yaml_document_delete(&document)
  }

  /// Reads a text that holds one document at most.
  ///
  /// - Returns: the root; `nil` if there is none.
  static func root(of text: String) throws(YAMLError) -> YAMLNode? {
    try unsafe Array(text.utf8).withUnsafeBufferPointer { bytes throws(YAMLError) in
      var parser = unsafe yaml_parser_t()
      guard unsafe yaml_parser_initialize(&parser) != 0 else { throw YAMLError(mark: nil, problem: "no memory") }
      defer { unsafe yaml_parser_delete(&parser) }
      unsafe yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING)
      unsafe yaml_parser_set_input_string(&parser, bytes.baseAddress, bytes.count)
      guard let root = try unsafe load(&parser) else { return nil }
      try root.document.refuseDuplicates()
      if let second = try unsafe load(&parser) {
        throw YAMLError(mark: second.mark, problem: "a second document begins here: keep one")
      }
      return root
    }
  }

  private static func load(_ parser: inout yaml_parser_t) throws(YAMLError) -> YAMLNode? {
    var document = unsafe yaml_document_t()
    guard unsafe yaml_parser_load(&parser, &document) != 0 else { throw unsafe YAMLError(parser) }
    let loaded = unsafe YAMLDocument(document)
    // Its nodes are numbered from 1 on, the root first.
    return unsafe yaml_document_get_root_node(&loaded.document) == nil ? nil : YAMLNode(document: loaded, index: 1)
  }

  private func refuseDuplicates() throws(YAMLError) {
    let count = unsafe document.nodes.top - document.nodes.start
    for index in 0..<count {
      let node = YAMLNode(document: self, index: CInt(index + 1))
      var seen: Set<String> = []
      for (key, _) in node.mapping ?? [] {
        guard let name = key.scalar, !seen.insert(name).inserted else { continue }
        throw YAMLError(mark: key.mark, problem: "the field `\(name.escaped)` is there twice: take one out")
      }
    }
  }

  fileprivate func mark(_ index: CInt) -> YAMLMark {
    unsafe YAMLMark(node(index).start_mark)
  }

  fileprivate func scalar(_ index: CInt) -> String? {
    let node = unsafe node(index)
    guard unsafe node.type == YAML_SCALAR_NODE else { return nil }
    let scalar = unsafe node.data.scalar
    return unsafe String(decoding: UnsafeBufferPointer(start: scalar.value, count: scalar.length), as: UTF8.self)
  }

  fileprivate func sequence(_ index: CInt) -> [YAMLNode]? {
    let node = unsafe node(index)
    guard unsafe node.type == YAML_SEQUENCE_NODE else { return nil }
    let items = unsafe node.data.sequence.items
    return unsafe (0..<(items.top - items.start)).map { unsafe YAMLNode(document: self, index: items.start[$0]) }
  }

  fileprivate func mapping(_ index: CInt) -> [(key: YAMLNode, value: YAMLNode)]? {
    let node = unsafe node(index)
    guard unsafe node.type == YAML_MAPPING_NODE else { return nil }
    let pairs = unsafe node.data.mapping.pairs
    return unsafe (0..<(pairs.top - pairs.start)).map {
      let pair = unsafe pairs.start[$0]
      return (YAMLNode(document: self, index: pair.key), YAMLNode(document: self, index: pair.value))
    }
  }

  private func node(_ index: CInt) -> yaml_node_t {
    guard let node = unsafe yaml_document_get_node(&document, index) else {
      preconditionFailure("nodes come from their document")
    }
    return unsafe node.pointee
  }
}

/// A node of a document, which it keeps alive.
struct YAMLNode {
  fileprivate let document: YAMLDocument
  fileprivate let index: CInt

  var mark: YAMLMark { document.mark(index) }
  /// A scalar's text, without its quotes.
  var scalar: String? { document.scalar(index) }
  var sequence: [YAMLNode]? { document.sequence(index) }
  /// In the order of the text.
  var mapping: [(key: YAMLNode, value: YAMLNode)]? { document.mapping(index) }

  /// The value of a mapping's field.
  subscript(name: String) -> YAMLNode? { mapping?.first { $0.key.scalar == name }?.value }
}

/// A place in a text; both count from 1.
struct YAMLMark {
  let line: Int
  let column: Int

  fileprivate init(_ mark: yaml_mark_t) {
    line = Int(clamping: mark.line) + 1
    column = Int(clamping: mark.column) + 1
  }
}

/// Why a text can't be read, and where, if that is known.
struct YAMLError: Error {
  let mark: YAMLMark?
  let problem: String

  fileprivate init(mark: YAMLMark?, problem: String) {
    self.mark = mark
    self.problem = problem
  }

  fileprivate init(_ parser: yaml_parser_t) {
    let text = unsafe parser.problem.map { unsafe String(cString: $0) } ?? "no memory"
    let known = unsafe [YAML_SCANNER_ERROR, YAML_PARSER_ERROR, YAML_COMPOSER_ERROR].contains(parser.error)
    mark = unsafe known ? YAMLMark(parser.problem_mark) : nil
    problem =
      known
      ? "not YAML: \(text). Indent with spaces, and put a space behind each `:` and `-`" : "not YAML: \(text)"
  }
}
