internal import COpenSSL

extension Certificate {
  /// A certificate that is signed with its own key: an authority, or a peer whose key alone is its identity.
  public static func selfSigned(_ profile: CertificateProfile, key: PrivateKey) throws(CryptoError) -> Certificate {
    try make(profile, for: key.publicKey, issuer: nil, key: key)
  }

  /// A certificate for the key of a request, signed by this one's holder. The names come from `profile` alone.
  /// - Parameter key: the private key of this certificate.
  public func issue(
    _ profile: CertificateProfile, for publicKey: PublicKey, key: PrivateKey
  ) throws(CryptoError) -> Certificate {
    guard key.keyHash == keyHash else { throw CryptoError("issue certificate", .misuse, reason: "issuer's key") }
    return try Self.make(profile, for: publicKey, issuer: self, key: key)
  }

  private static func make(
    _ profile: CertificateProfile, for publicKey: PublicKey, issuer: Certificate?, key: PrivateKey
  ) throws(CryptoError) -> Certificate {
    let operation = "issue certificate"
    guard let certificate = unsafe X509_new() else { throw .last(operation) }
    defer { unsafe X509_free(certificate) }
    let subject = unsafe X509_get_subject_name(certificate)

    try check(operation, unsafe X509_set_version(certificate, 2))
    try unsafe setSerial(certificate)
    if let unit = profile.organizationalUnit { try unsafe addName(unit, "OU", to: subject) }
    try unsafe addName(profile.commonName, "CN", to: subject)
    try check(operation, unsafe setTime(profile.notBefore, X509_getm_notBefore(certificate)))
    try check(operation, unsafe setTime(profile.notAfter, X509_getm_notAfter(certificate)))

    let subjectKey = try unsafe PublicKey.parse(publicKey.der)
    defer { unsafe EVP_PKEY_free(subjectKey) }
    try check(operation, unsafe X509_set_pubkey(certificate, subjectKey))

    let issuing = try unsafe issuer.map { issuer throws(CryptoError) in try unsafe parse(issuer.der) }
    defer { if let issuing = unsafe issuing { unsafe X509_free(issuing) } }
    let signer = unsafe issuing ?? certificate
    try check(operation, unsafe X509_set_issuer_name(certificate, X509_get_subject_name(signer)))

    for (kind, value) in extensions(profile.usage) {
      try check(operation, unsafe copenssl_add_extension(certificate, signer, kind, value))
    }
    if case .server(let names) = profile.usage, !names.isEmpty { try unsafe addNames(names, to: certificate) }
    guard unsafe X509_sign(certificate, key.pointer, Algorithms.shared.sha256) > 0 else { throw .last(operation) }
    return try unsafe Certificate(certificate)
  }

  /// The extensions in the order in which they are added: the key identifiers first, since a self-signed
  /// certificate's authority key identifier is read from the other one.
  private static func extensions(_ usage: CertificateProfile.Usage) -> [(Int32, String)] {
    var list = [(NID_subject_key_identifier, "hash"), (NID_authority_key_identifier, "keyid")]
    switch usage {
    case .authority:
      list.append((NID_basic_constraints, "critical,CA:TRUE,pathlen:0"))
      list.append((NID_key_usage, "critical,keyCertSign,cRLSign"))
      return list
    case .server: list.append((NID_ext_key_usage, "serverAuth"))
    case .client: list.append((NID_ext_key_usage, "clientAuth"))
    case .peer: list.append((NID_ext_key_usage, "serverAuth,clientAuth"))
    }
    list.append((NID_basic_constraints, "critical,CA:FALSE"))
    list.append((NID_key_usage, "critical,digitalSignature"))
    return list
  }

  /// RFC 5280 section 4.1.2.2: positive, unique, at most 20 bytes. Here 16 random bytes without the sign bit.
  private static func setSerial(_ certificate: OpaquePointer) throws(CryptoError) {
    var bytes = try Random.bytes(16)
    bytes[0] = bytes[0] & 0x7F | 0x40
    guard let number = unsafe BN_bin2bn(bytes, Int32(bytes.count), nil) else { throw .last("certificate serial") }
    defer { unsafe BN_free(number) }
    guard unsafe BN_to_ASN1_INTEGER(number, X509_get_serialNumber(certificate)) != nil else {
      throw .last("certificate serial")
    }
  }

  private static func setTime(_ unixSeconds: Int64, _ time: UnsafeMutablePointer<ASN1_TIME>?) -> Int32 {
    unsafe ASN1_TIME_set(time, time_t(unixSeconds)) == nil ? 0 : 1
  }

  /// Subject alternative names, built from values: OpenSSL's text form would let a comma in a name add another.
  private static func addNames(
    _ names: [CertificateProfile.SubjectName], to certificate: OpaquePointer
  ) throws(CryptoError) {
    let operation = "certificate names"
    guard let list = unsafe copenssl_new_general_names() else { throw .last(operation) }
    defer { unsafe GENERAL_NAMES_free(list) }
    for name in names {
      let (type, bytes): (Int32, [UInt8]) =
        switch name {
        case .dns(let text): (copenssl_name_type_dns(), Array(text.utf8))
        case .address(let bytes): (copenssl_name_type_ip(), bytes)
        }
      let fits =
        switch name {
        case .dns: (1...253).contains(bytes.count) && bytes.allSatisfy { $0 > 0x20 && $0 < 0x7F }
        case .address: bytes.count == 4 || bytes.count == 16
        }
      guard fits else { throw CryptoError(operation, .misuse, reason: "\(name)") }
      try check(operation, unsafe copenssl_add_general_name(list, type, bytes, Int32(bytes.count)))
    }
    try check(
      operation,
      unsafe X509_add1_ext_i2d(certificate, NID_subject_alt_name, UnsafeMutableRawPointer(list), 0, 0))
  }
}
