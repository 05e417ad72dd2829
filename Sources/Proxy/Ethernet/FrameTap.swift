import Packet
import Primitives
import Tun

/// What the captures of a host want of one Layer 2 agent's frames. Made anew when the captures change.
package struct FrameTap {
  private let captures: [(capture: Capture, interface: Int)]
  private let name: String
  private let permitted: [UInt8]

  /// - Parameters:
  ///   - captures: all that are under way.
  ///   - agent: as captures name it.
  ///   - description: what passes at the interface that the capture shows, for people.
  package init(_ captures: [Capture], agent: String, description: String) {
    self.captures = captures.compactMap { capture in
      let wanted = capture.configuration
      // The agent is one flow for as long as it is connected: it has no name that somebody would ask for.
      guard capture.takes(.ethernet), wanted.agent == nil || wanted.agent == agent, wanted.flow == nil else {
        return nil
      }
      return (
        capture, capture.number(of: CaptureInterface(agent, description: description, linkType: .ethernet))
      )
    }
    name = agent
    permitted = Array("agent \(agent); permitted".utf8)
  }

  /// Hands a frame to the captures, with what was decided about it.
  ///
  /// - Parameters:
  ///   - loss: why it didn't get on although the rule permits it; `nil` if it did.
  ///   - nanoseconds: since 1970.
  package func record(
    _ frame: borrowing TappedFrame, _ direction: PacketDirection, _ verdict: EthernetVerdict, loss: String? = nil,
    at nanoseconds: Int64, pool: borrowing SlabPool
  ) {
    var comment = permitted
    switch verdict {
    case .refuse(let reason), .cut(let reason): comment = Array("agent \(name); refused: \(reason)".utf8)
    case .pass: if let loss { comment = Array("agent \(name); permitted; dropped: \(loss)".utf8) }
    }
    let isDrop = verdict != .pass || loss != nil
    for (capture, interface) in captures where isDrop || !capture.configuration.onlyDrops {
      capture.record(
        interface, direction, at: nanoseconds, comment: comment, offload: frame.offload, header: Span(),
        payload: frame.pieces.span, pool: pool)
    }
  }
}

/// A frame that captures look at, whatever becomes of it meanwhile.
package struct TappedFrame {
  package let pieces: [Slice]
  package let offload: Offload

  /// Takes over the references of the pieces, which `release` gives back.
  package init(_ pieces: [Slice], _ offload: Offload) {
    self.pieces = pieces
    self.offload = offload
  }

  package consuming func release(pool: inout SlabPool) {
    for piece in pieces { pool.release(piece) }
  }
}

extension PacketWrite {
  /// Why the packet is lost, for people; `nil` if it isn't.
  package var loss: String? {
    switch self {
    case .written: nil
    case .dropped(.full): "the device has no room"
    case .dropped(.down): "the device is down"
    case .dropped(.rejected): "the kernel refuses it"
    case .dropped(.malformed): "it is malformed"
    case .dropped(.injected): "on purpose"
    }
  }
}

extension FrameInbox {
  /// The frame that is the next to be delivered; `nil` if there is none, or it is no frame.
  package func tapped(pool: inout SlabPool) -> TappedFrame? {
    guard let pieces = firstMessage, let first = pieces.first, first.count > VirtioNetHeader.size else { return nil }
    let size = pieces.reduce(0) { $0 + $1.count } - VirtioNetHeader.size
    guard let offload = pool.withSpan(first, { try? VirtioNetHeader(parsing: $0).validate(against: size) }) else {
      return nil
    }
    for piece in pieces { pool.retain(piece) }
    return TappedFrame([first.dropping(VirtioNetHeader.size)] + pieces.dropFirst(), offload)
  }
}
