extension CertificatesTarget {
  // Made for this alone, and of worth to nobody.

  /// The key of an authority.
  static let authorityPEM = """
    -----BEGIN PRIVATE KEY-----
    MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgLMc117kJPNJvptZ5
    tGd06HY00+W/9wBptbkJgBHIXo6hRANCAAQuyVSmUN1Dmy7dxLkQs1LJqQK3vTW1
    meigD6CeqKWakQHhG1iM5zN6s1ChMbzcJmyFgTDJbLm/24GLxspLb0xF
    -----END PRIVATE KEY-----

    """

  /// Its certificate.
  static let issuerPEM = """
    -----BEGIN CERTIFICATE-----
    MIIBqjCCAVCgAwIBAgIUHD6IPlB9fHjNmz6LbBw00QtyqE0wCgYIKoZIzj0EAwIw
    KDENMAsGA1UECwwEZ2F0ZTEXMBUGA1UEAwwOZnV6eiBhdXRob3JpdHkwIBcNMjYx
    MTI1MTMzMjA5WhgPMjEyNjExMDExMzMyMDlaMCgxDTALBgNVBAsMBGdhdGUxFzAV
    BgNVBAMMDmZ1enogYXV0aG9yaXR5MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE
    LslUplDdQ5su3cS5ELNSyakCt701tZnooA+gnqilmpEB4RtYjOczerNQoTG83CZs
    hYEwyWy5v9uBi8bKS29MRaNWMFQwHQYDVR0OBBYEFNphl96yjtJ+TiEfxWuVhP1y
    gjEOMB8GA1UdIwQYMBaAFNphl96yjtJ+TiEfxWuVhP1ygjEOMBIGA1UdEwEB/wQI
    MAYBAf8CAQAwCgYIKoZIzj0EAwIDSAAwRQIhANJGasyyhmGpALiRYOaDEDYQskjH
    lyqfssLL2EoQN6o5AiAR/UqDEw9FWcVmKnAWo6nEK10oE2r6xBAfglZY5BLF3w==
    -----END CERTIFICATE-----

    """

  /// A certificate that it has issued.
  static let issuedPEM = """
    -----BEGIN CERTIFICATE-----
    MIIBRzCB7gIUKujs0T/pJ2CykhYO5Xs2S8h5J8UwCgYIKoZIzj0EAwIwKDENMAsG
    A1UECwwEZ2F0ZTEXMBUGA1UEAwwOZnV6eiBhdXRob3JpdHkwIBcNMjYxMTI1MTMz
    MjA5WhgPMjEyNjExMDExMzMyMDlaMCMxDTALBgNVBAsMBHNpdGUxEjAQBgNVBAMM
    CWZ1enogc2l0ZTBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABCUYNKAxWhqhrigM
    fe7Tz1cts7i0F02n33oT7GHvgeT8EnZpmxZsPqTmGmOGwiuZt/HtJT3pnZjoAWGW
    U9aitaswCgYIKoZIzj0EAwIDSAAwRQIhAMuOaWPlEkSCNo5ZI88Ad/xn2w2hE/yY
    qoa+xBbmaOpEAiBKRLmtZryN9Rt1VsCX58LKgCfxI3vGk7LtfQwB74s19g==
    -----END CERTIFICATE-----

    """

  /// What that was asked for by.
  static let requestPEM = """
    -----BEGIN CERTIFICATE REQUEST-----
    MIHfMIGFAgEAMCMxDTALBgNVBAsMBHNpdGUxEjAQBgNVBAMMCWZ1enogc2l0ZTBZ
    MBMGByqGSM49AgEGCCqGSM49AwEHA0IABCUYNKAxWhqhrigMfe7Tz1cts7i0F02n
    33oT7GHvgeT8EnZpmxZsPqTmGmOGwiuZt/HtJT3pnZjoAWGWU9aitaugADAKBggq
    hkjOPQQDAgNJADBGAiEAhRMDoSNNVrmk8Awz7gJJmHMsde7MKWJtcHnse1Nd3HAC
    IQCNRcIWzMz59x5ZPQd3qXkZHOWAqwd0hesxAjQWgEDqCg==
    -----END CERTIFICATE REQUEST-----

    """
}
