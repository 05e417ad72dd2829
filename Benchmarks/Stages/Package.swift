// swift-tools-version: 6.3
import PackageDescription

// A package of its own, so that users of the library don't fetch what benchmarks need. It works on public API alone.
let settings: [SwiftSetting] = [
  .swiftLanguageMode(.v6),
  .strictMemorySafety(),
  .treatAllWarnings(as: .error),
]

let package = Package(
  name: "Stages",
  dependencies: [.package(name: "RelayVPN", path: "../..")],
  targets: [
    .target(
      name: "Stages", dependencies: [.product(name: "RelayVPN", package: "RelayVPN")], swiftSettings: settings),
    // The one of the root's tests, by a link: a product of the root that replaces malloc would be a trap for its users.
    .target(name: "AllocationCounter"),
    .target(name: "Callgrind"),
    .executableTarget(
      name: "StageCounts", dependencies: ["Stages", "AllocationCounter", "Callgrind"], swiftSettings: settings,
      // Debian 12's valgrind gives up on this toolchain's debugging information; names of functions stay.
      linkerSettings: [.unsafeFlags(["-Xlinker", "--strip-debug"])]),
    .executableTarget(
      name: "StackServer", dependencies: [.product(name: "RelayVPN", package: "RelayVPN")], swiftSettings: settings),
  ]
)

// SwiftPM builds the plugins of all dependencies for whatever is built. The check needs the counts alone, says so, and
// takes half the time.
if Context.environment["STAGES_COUNTS_ONLY"] == nil {
  package.dependencies.append(
    // Without its interposers of malloc and of the Swift runtime: AllocationCounter counts here.
    .package(url: "https://github.com/ordo-one/benchmark", from: "1.38.1", traits: []))
  package.targets.append(
    .executableTarget(
      name: "StageBenchmarks", dependencies: ["Stages", .product(name: "Benchmark", package: "benchmark")],
      path: "Benchmarks/StageBenchmarks", swiftSettings: settings,
      plugins: [.plugin(name: "BenchmarkPlugin", package: "benchmark")]))
}
