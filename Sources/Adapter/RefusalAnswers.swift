import Framing

extension Refusal.Reason {
  /// What an application sees when the site says no: the same as if it stood beside the device.
  var answer: FlowAnswer {
    switch self {
    case .deviceRefused: .reset
    case .networkUnreachable: .unreachable(.network)
    case .hostUnreachable: .unreachable(.host)
    case .timedOut: .silent
    case .unknownAgent, .notGranted, .portNotPermitted, .addressNotPermitted, .grantEnded:
      .unreachable(.adminProhibited)
    case .tooMany, .siteError, .sessionEnded: .unreachable(.host)
    }
  }
}
