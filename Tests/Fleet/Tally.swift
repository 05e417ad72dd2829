import Foundation
import Kernel
import Primitives
import Synchronization

/// Who of a fleet is connected, since when, and what went wrong on the way.
final class Tally: Sendable {
  private struct State {
    var connected: Set<Int> = []
    /// Who has been lost since the last mark, and when it was back: a second after the mark, counted from 0.
    var lost: Set<Int> = []
    var returns: [Int: Double] = [:]
    var mark = Clock.now
    var problems: [String: Int] = [:]
  }

  /// What `report` prints.
  struct Report: Encodable {
    var connected: Int
    /// Members that were lost since the mark, and those of them that are back.
    var lost: Int
    var back: Int
    /// When the last one came back, and how many came back in each second since the mark.
    var lastBack: Double
    var backBySecond: [Int]
    var problems: [String: Int]
  }

  private let state = Mutex(State())

  func connected(_ member: Int) {
    state.withLock { state in
      state.connected.insert(member)
      if state.lost.contains(member) { state.returns[member] = (Clock.now - state.mark).seconds }
    }
  }

  func disconnected(_ member: Int, _ problem: String) {
    state.withLock { state in
      if state.connected.remove(member) != nil {
        state.lost.insert(member)
        state.returns[member] = nil
      }
      state.problems[problem, default: 0] += 1
    }
  }

  /// All have gone of their own will.
  func left() {
    state.withLock { $0.connected = [] }
  }

  func failed(_ problem: String) {
    state.withLock { $0.problems[problem, default: 0] += 1 }
  }

  var count: Int { state.withLock { $0.connected.count } }

  /// What is reported from now on is about what happens from now on.
  func setMark() {
    state.withLock { state in
      state.lost = []
      state.returns = [:]
      state.problems = [:]
      state.mark = Clock.now
    }
  }

  var report: Report {
    state.withLock { state in
      var bySecond: [Int] = []
      for time in state.returns.values {
        while bySecond.count <= Int(time) { bySecond.append(0) }
        bySecond[Int(time)] += 1
      }
      return Report(
        connected: state.connected.count, lost: state.lost.count, back: state.returns.count,
        lastBack: state.returns.values.max() ?? 0, backBySecond: bySecond, problems: state.problems)
    }
  }
}

/// Prints one line that a script can wait for.
func printJSON(_ value: some Encodable) {
  guard let data = try? JSONEncoder().encode(value) else { return }
  print(String(decoding: data, as: UTF8.self))
  fflush(nil)
}
