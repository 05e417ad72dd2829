import Crypto

/// Bytes from hexadecimal text; spaces are ignored.
func hex(_ text: String) -> [UInt8] {
  let digits = text.compactMap(\.hexDigitValue)
  return stride(from: 0, to: digits.count - 1, by: 2).map { UInt8(digits[$0] << 4 | digits[$0 + 1]) }
}

func bytes(_ secret: borrowing SecretBytes) -> [UInt8] {
  secret.withSpan { span in span.indices.map { span[$0] } }
}

struct WrongSize: Error {}

func aeadVector(_ bytes: [UInt8]) throws -> AEADVector {
  guard let vector = AEADVector(bytes.span) else { throw WrongSize() }
  return vector
}

func sha256(_ bytes: [UInt8]) throws -> SHA256.Digest { try SHA256.hash(bytes.span) }

func sha256(_ text: String) throws -> SHA256.Digest { try sha256(Array(text.utf8)) }

func digest(_ bytes: [UInt8]) -> SHA256.Digest? { SHA256.Digest(bytes.span) }

func constantTimeEquals(_ left: [UInt8], _ right: [UInt8]) -> Bool {
  Crypto.constantTimeEquals(left.span, right.span)
}
