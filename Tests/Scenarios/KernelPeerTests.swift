import Foundation
import Testing

extension WholeSystem {
  /// The stack's TCP with a kernel at the other end, over a path that loses, duplicates, reorders and damages packets;
  /// and a kernel's own TCP in its place, over the same path with the same seeds.
  @Suite(.enabled(if: BadPath.isPossible, BadPath.comment))
  struct KernelPeer {
    // MARK: Every byte

    /// What a line does, and whether each connection over it gets a stack with or without congestion control.
    private static let lines: [(faults: String, congestion: String, family: Int)] = [
      ("", "none", 4),
      ("delay=5000 loss=0.05 duplicate=0.02 reorder=0.05 late=3000 corrupt=0.01", "reno", 4),
      ("delay=500 loss=0.02 duplicate=0.1 reorder=0.2 late=700 corrupt=0.01", "none", 6),
      ("delay=20000 loss=0.01 reorder=0.3 late=15000", "reno", 6),
    ]

    @Test("every byte arrives, in both roles and directions, whatever becomes of packets")
    func wholeness() throws {
      let lanes = ["connect", "listen"].flatMap { role in ["source", "sink", "echo"].map { (role, $0) } }
      try BadPath.run(lanes: lanes.map { "\($0)-\($1)" }) { path in
        for (seed, line) in Self.lines.enumerated() {
          let transfers = lanes.map { role, task in
            "over \(role)-\(task) \(seed) '\(line.faults)' stack \(role) \(task) \(line.family) 400000 "
              + "congestion=\(line.congestion) &"
          }
          let reports = try path.transfers((transfers + ["wait"]).joined(separator: "\n"))
          #expect(reports.count == lanes.count)
          for (lane, transfers) in reports {
            #expect(transfers.count == 1 && transfers.allSatisfy(\.isWhole), "\(line) \(lane): \(transfers)")
          }
        }
      }
    }

    // MARK: Throughput

    /// What the stack and the kernel made of the same path.
    private struct Comparison {
      var stack: [Double]
      var kernel: [Double]
      /// The median over all rounds: each round has its own losses, the same for both.
      var ratio: Double { zip(stack, kernel).map { $0 / $1 }.median }

      var description: String {
        let format = { (values: [Double]) in values.map { String(format: "%.1f", $0) }.joined(separator: " ") }
        return "\(format([stack.median])) to \(format([kernel.median])) Mbit/s, \(String(format: "%.2f", ratio)) "
          + "(\(format(stack)); \(format(kernel)))"
      }
    }

    private static let lanes = ["su", "ku", "sd", "kd"]

    /// Transfers in both directions, by the stack and by the kernel, each on a line of its own, side by side.
    private func compare(
      _ path: BadPath, line: String, bytes: Int, rounds: Int, congestion: String = "reno", together: Bool = true
    ) throws -> (up: Comparison, down: Comparison) {
      let separator = together ? "&" : ";"
      let reports = try path.transfers(
        """
        for seed in {1..\(rounds)}; do
          over su $seed '\(line)' stack connect source 4 \(bytes) congestion=\(congestion) \(separator)
          over ku $seed '\(line)' kernel connect source 4 \(bytes) \(separator)
          over sd $seed '\(line)' stack connect sink 4 \(bytes) congestion=\(congestion) \(separator)
          over kd $seed '\(line)' kernel connect sink 4 \(bytes) \(separator)
          wait
        done
        """, limit: 600)
      return try comparison(reports, rounds: rounds, title: "\(line) \(congestion)")
    }

    private func comparison(
      _ reports: [String: [BadPath.Transfer]], rounds: Int, title: String
    ) throws -> (up: Comparison, down: Comparison) {
      for lane in Self.lanes {
        let transfers = reports[lane] ?? []
        #expect(transfers.count == rounds && transfers.allSatisfy(\.isWhole), "\(lane): \(transfers)")
      }
      let rates = { (lane: String, receiver: KeyPath<BadPath.Transfer, BadPath.End>) in
        (reports[lane] ?? []).map { $0.megabits(to: receiver) }
      }
      let up = Comparison(stack: rates("su", \.far), kernel: rates("ku", \.far))
      let down = Comparison(stack: rates("sd", \.near), kernel: rates("kd", \.near))
      print("\(title), from the stack:", up.description)
      print("\(title), to the stack:", down.description)
      return (up, down)
    }

    @Test("as fast as the kernel's own TCP at 1 % loss")
    func throughput() throws {
      try BadPath.run(lanes: Self.lanes) { path in
        let (up, down) = try compare(path, line: "delay=5000 loss=0.01", bytes: 3_000_000, rounds: 5)
        #expect(up.ratio >= 0.8)
        #expect(down.ratio >= 0.8)
      }
    }

    /// Without a delay single pauses decide, for the kernel too: the figures of few rounds say little.
    @Test("through a router whose firewall drops one packet in a hundred")
    func router() throws {
      let rounds = Soak.isWanted ? 15 : 2
      try BadPath.run(lanes: Self.lanes) { path in
        let reports = try path.transfers(
          """
          for lane in \(Self.lanes.joined(separator: " ")); do
            router_up $lane && at $lane-router nft 'add table ip bad; add chain ip bad drops {
              type filter hook forward priority 0; }; add rule ip bad drops numgen random mod 100 < 1 drop' || exit 1
          done
          for seed in {1..\(rounds)}; do
            transfer su stack connect source 4 10000000 $seed congestion=reno
            transfer ku kernel connect source 4 10000000 $seed
            transfer sd stack connect sink 4 10000000 $seed
            transfer kd kernel connect sink 4 10000000 $seed
          done
          """)
        _ = try comparison(reports, rounds: rounds, title: "nft, 1 %")
      }
    }

    @Test("beside the kernel's own TCP on many paths", .enabled(if: Soak.isWanted, "\(Soak.comment)"))
    func matrix() throws {
      try BadPath.run(lanes: Self.lanes) { path in
        for delay in [0, 5_000, 20_000] {
          for loss in [0, 0.01, 0.05] {
            // One after the other where they would share the processor, side by side where they wait.
            let together = delay > 0 && loss > 0
            for congestion in loss > 0 ? ["reno", "none"] : ["reno"] {
              let size = loss == 0 ? 40_000_000 : delay == 0 ? 20_000_000 : loss < 0.02 ? 4_000_000 : 1_000_000
              let (up, down) = try compare(
                path, line: "delay=\(delay) loss=\(loss)", bytes: size / (delay > 5_000 ? 2 : 1),
                rounds: together ? 5 : 3, congestion: congestion, together: together)
              // Without a delay single pauses decide.
              guard loss == 0.01, delay > 0 else { continue }
              #expect(up.ratio >= 0.8)
              #expect(down.ratio >= 0.8)
            }
          }
        }
      }
    }
  }
}
