import Packet
import Primitives
import Testing

/// Loops that people build: frames that come back by another way don't go round, and what goes on is cut.
struct EthernetLoopTests {
  /// Two connections between a PC's network and the devices', each with a filter at both of its ends, and a second way
  /// between the two networks if there is one. A frame on a network reaches all that is joined to it.
  private struct World {
    enum Network { case pc, site }

    private final class Link {
      var near, far: EthernetFilter

      init(_ rule: EthernetRule, _ number: UInt64) {
        near = EthernetFilter(rule: rule)
        far = EthernetFilter(rule: rule)
        near.probe = LoopProbe(identifier: number)
      }

      func passes(_ frame: [UInt8], from place: Network, now: Instant) -> Bool {
        if place == .pc {
          let verdict = near.judge(frame.span, .toSite, now: now)
          return verdict == .pass && far.judge(frame.span, .toSite, now: now) == .pass
        }
        let verdict = far.judge(frame.span, .toPC, now: now)
        return verdict == .pass && near.judge(frame.span, .toPC, now: now) == .pass
      }
    }

    private var links: [Link]
    /// A cable between the two networks, as of a laptop that bridges its devices while it is plugged in at the site.
    private let hasCable: Bool
    private var now = Instant.zero + .seconds(1000)
    private(set) var seen: [Network: Int] = [.pc: 0, .site: 0]

    init(links: Int, hasCable: Bool, rule: EthernetRule) {
      self.links = (0..<links).map { Link(rule, UInt64($0)) }
      self.hasCable = hasCable
    }

    var cut: Int { links.count { $0.near.isCut || $0.far.isCut } }

    /// Sends each connection's probe into the PC's network.
    mutating func probe(after time: Interval) {
      for index in links.indices where !links[index].near.isCut {
        guard let probe = links[index].near.probe else { continue }
        _ = send(probe.bytes, into: .pc, by: index, after: time)
      }
    }

    /// Sends a frame into a network and lets it go where it goes.
    /// - Parameter sender: the connection that sends it, if it is one.
    /// - Returns: `false` if it goes round without an end.
    mutating func send(
      _ frame: [UInt8], into network: Network, by sender: Int? = nil, after time: Interval
    ) -> Bool {
      now = now + time
      // Where it is, and what it came from: a connection's number, -1 for the cable.
      var moving: [(Network, Int?)] = [(network, sender)]
      var steps = 0
      while let (place, origin) = moving.first {
        moving.removeFirst()
        steps += 1
        guard steps < 100 else { return false }
        seen[place, default: 0] += 1
        for index in links.indices where index != origin {
          if links[index].passes(frame, from: place, now: now) { moving.append((place == .pc ? .site : .pc, index)) }
        }
        if hasCable, origin != -1 { moving.append((place == .pc ? .site : .pc, -1)) }
      }
      return true
    }
  }

  private static let rule = EthernetRule(types: [.profinet], permitsOpeningToPC: true)

  /// Two connections side by side, and a cable beside one: what goes round is cut by the first probe, whoever's frames
  /// they are, and in whichever direction.
  @Test(arguments: [(2, false), (1, true), (2, true)])
  func `a loop is cut by its first probe`(links: Int, hasCable: Bool) {
    for (station, network) in [(Frames.pc, World.Network.pc), (Frames.device, .site)] {
      var world = World(links: links, hasCable: hasCable, rule: Self.rule)
      let frame = Frames.ethernet(from: station, to: .broadcast)
      // Somebody speaks before.
      _ = world.send(frame, into: network, after: .seconds(1))
      world.probe(after: .milliseconds(10))
      let cut = world.cut
      #expect(cut >= (hasCable ? links : links - 1), "\(links) \(hasCable) \(network)")
      let ends = world.send(frame, into: network, after: .milliseconds(10))
      #expect(ends)
    }
  }

  /// Frames that are refused on their way back say so as well, without probes.
  @Test func `the same frames from both sides are a loop`() {
    var world = World(links: 2, hasCable: false, rule: Self.rule)
    for _ in 0..<40 {
      let ends = world.send(Frames.ethernet(to: .broadcast), into: .pc, after: .milliseconds(10))
      #expect(ends)
    }
    let cut = world.cut
    #expect(cut >= 1)
  }

  @Test func `probes pass where there is no loop, a few a second, and nothing comes of them`() {
    var world = World(links: 1, hasCable: false, rule: Self.rule)
    for _ in 0..<10 { world.probe(after: .seconds(2)) }
    let (seen, cut) = (world.seen, world.cut)
    #expect(cut == 0 && seen[.site] == 0, "\(seen)")
    // Somebody else's pass through a rule that permits nothing of the kind.
    var filter = EthernetFilter(rule: EthernetRule(types: []))
    var passed = 0
    for number in 0..<100 {
      let verdict = filter.judge(LoopProbe(identifier: UInt64(number)).bytes.span, .toSite, now: .zero + .seconds(1))
      if verdict == .pass { passed += 1 }
    }
    #expect(passed == LoopProbe.rate)
    let own = LoopProbe(identifier: 7)
    filter.probe = own
    #expect(filter.judge(own.bytes.span, .toSite, now: .zero + .seconds(9)) == .cut(.loop))
  }

  @Test func `a probe is read as it is written, and carries nothing else`() throws {
    let probe = LoopProbe(identifier: 0x0102_0304_0506_0708)
    let bytes = probe.bytes
    #expect(bytes.count == LoopProbe.size && LoopProbe(parsing: bytes.span) == probe)
    for index in bytes.indices {
      var other = bytes
      other[index] ^= 0x40
      // Its number may be another one, where the source doesn't repeat it.
      let found = LoopProbe(parsing: other.span)
      #expect((found != nil) == (22..<27).contains(index), "\(index)")
    }
    for count in 0..<bytes.count { #expect(LoopProbe(parsing: bytes.span.extracting(0..<count)) == nil) }
    #expect(LoopProbe(parsing: (bytes + [0]).span) == nil)
  }
}
