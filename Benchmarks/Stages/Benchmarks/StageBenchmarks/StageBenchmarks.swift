import Benchmark
import Stages

let benchmarks: @Sendable () -> Void = {
  for description in Catalogue.stages {
    let operations = description.counted
    // Bounded, since one key seals no more than 2²³ records.
    let configuration = Benchmark.Configuration(
      metrics: [.wallClock, .throughput], warmupIterations: 1, maxDuration: .milliseconds(500),
      maxIterations: 4_000_000 / operations)
    Benchmark(description.name, configuration: configuration) { benchmark, stage in
      try stage.prepare(operations)
      let before = stage.completed
      benchmark.startMeasurement()
      try stage.run(operations)
      benchmark.stopMeasurement()
      if stage.completed - before != operations { throw StageFailure("\(description.name) doesn't work") }
    } setup: {
      try description.setUp()
    }
  }
}
