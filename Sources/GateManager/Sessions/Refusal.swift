/// Why a connection or a request was turned away or ended: one counter each.
enum Refusal: String, Hashable, Sendable, CaseIterable {
  case tooManyConnections, outOfDescriptors, handshakeFailed, handshakeTimeout, wrongProtocol
  case noHello, incompatible, wrongRole, notRegistered, malformed, misplaced, endlessMessage, tooFast, tooManyTries
  case idleStranger, silent
  case brokenTLS, slowReader, fenced, membershipEnded, disconnected, stopping
  case badCredentials, codeMissing, badOneTimeCode, badCode, throttled, busy
  case unknownSite, siteOffline, unknownAgent, notAllowed, switchedOff, reasonMissing, tooManySessions
  case noCertificate, badTicket, noTicket, noPeer, switchFailed, sessionEnded, accessEnded

  /// What is said to those whose connection ends.
  var text: String {
    switch self {
    case .tooManyConnections: "too many connections"
    case .outOfDescriptors: "no descriptor is left for it"
    case .handshakeFailed: "the TLS handshake failed"
    case .handshakeTimeout: "the TLS handshake took too long"
    case .wrongProtocol: "no protocol in common"
    case .noHello: "no hello came"
    case .incompatible: "an incompatible version"
    case .wrongRole: "the key is registered for another role"
    case .notRegistered: "the key isn't registered"
    case .malformed: "a malformed message"
    case .misplaced: "a message that isn't for it to send"
    case .endlessMessage: "a message that didn't end"
    case .tooFast: "messages came too fast"
    case .tooManyTries: "too many tries"
    case .idleStranger: "neither enrolled nor logged in"
    case .silent: "no sign of life"
    case .brokenTLS: "bytes that are no TLS"
    case .slowReader: "it reads too slowly"
    case .fenced: "a newer connection of the same site took its place"
    case .membershipEnded: "its key is no longer registered"
    case .disconnected: "the peer left"
    case .stopping: "the service stops"
    case .badCredentials: "wrong user or password"
    case .codeMissing: "no one-time code"
    case .badOneTimeCode: "wrong or used one-time code"
    case .badCode: "unknown, used or expired enrolment code"
    case .throttled: "too many failed tries"
    case .busy: "too much to do"
    case .unknownSite: "no such site"
    case .siteOffline: "the site isn't connected"
    case .unknownAgent: "no such agent"
    case .notAllowed: "no rule allows it"
    case .switchedOff: "switched off on site"
    case .reasonMissing: "a reason is asked for"
    case .tooManySessions: "too many sessions"
    case .noCertificate: "no client certificate"
    case .badTicket: "a ticket that isn't good"
    case .noTicket: "no ticket came"
    case .noPeer: "the other end didn't come"
    case .switchFailed: "the switch to raw failed"
    case .sessionEnded: "the session ended"
    case .accessEnded: "access has ended"
    }
  }
}
