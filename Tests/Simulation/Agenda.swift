import Primitives

/// What will happen, in order of time: a binary heap. What is due at the same time comes in the order of its booking, so
/// that a seed tells everything.
struct Agenda {
  enum Event: BitwiseCopyable {
    /// An application connects.
    case start(connection: Int)
    /// A packet comes out of a link.
    case packet(Int, toLink: Bool)
    /// Something reaches an end of a wire.
    case wire(Int, WireEvent)
    /// The kernel of the device's network has an answer to a dial.
    case dialled(dial: Int)
    /// An application, or a device, has something to do.
    case application(connection: Int)
    case device(dial: Int)
    /// A host's loop goes on.
    case turn(Host)
    /// The plan's incident.
    case incident
  }

  private struct Entry {
    var due: Instant
    var order: UInt64
    var event: Event

    func precedes(_ other: Entry) -> Bool {
      due == other.due ? order < other.order : due < other.due
    }
  }

  private var entries: [Entry] = []
  private var booked: UInt64 = 0

  var nextDue: Instant? { entries.first?.due }
  var count: Int { entries.count }

  mutating func book(_ event: Event, at due: Instant) {
    booked += 1
    entries.append(Entry(due: due, order: booked, event: event))
    var index = entries.count - 1
    while index > 0, entries[index].precedes(entries[(index - 1) / 2]) {
      entries.swapAt(index, (index - 1) / 2)
      index = (index - 1) / 2
    }
  }

  mutating func popDue(_ now: Instant) -> Event? {
    guard let first = entries.first, first.due <= now else { return nil }
    let last = entries.removeLast()
    guard !entries.isEmpty else { return first.event }
    entries[0] = last
    var index = 0
    while true {
      var least = index
      for child in [2 * index + 1, 2 * index + 2] where child < entries.count && entries[child].precedes(entries[least])
      {
        least = child
      }
      guard least != index else { return first.event }
      entries.swapAt(index, least)
      index = least
    }
  }
}

/// Who has a loop of its own.
enum Host: BitwiseCopyable { case link, relay, site }
