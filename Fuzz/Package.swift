// swift-tools-version: 6.3
import PackageDescription

// A package of its own, so that neither unsafe flags nor fuzzers reach users of the product. It compiles the product's
// sources by a link, not as a dependency: each fuzzer holds no more than the modules that it is about (libFuzzer looks
// at every counter after every run), the modules are one package with the fuzzers, so that `package` declarations are
// seen and nothing has to become public for them, and FUZZING is a condition that no build of the product can have.

// FUZZ_COVERAGE: what `make fuzz-coverage` measures by, instead of what libFuzzer steers by.
let isCoverage = Context.environment["FUZZ_COVERAGE"] != nil
// FUZZ_BULK: without either, for many executions.
let isBulk = Context.environment["FUZZ_BULK"] != nil

/// The product as it ships, but for the checks of its internals (`assert`), which stay.
let instrumentation =
  isCoverage
  ? ["-profile-generate", "-profile-coverage-mapping"]
  : isBulk
    ? ["-sanitize=address"]
    : ["-sanitize=address", "-sanitize-coverage=edge,inline-8bit-counters,pc-table,trace-cmp,indirect-calls"]

let settings: [SwiftSetting] =
  [
    .swiftLanguageMode(.v6),
    .define("FUZZING"),
    .unsafeFlags(instrumentation + ["-enable-testing", "-assert-config", "Debug"]),
  ] + (isCoverage ? [] : [.define("ADDRESS_SANITIZER")])

func module(_ name: String, _ dependencies: [Target.Dependency] = [], exclude: [String] = []) -> Target {
  .target(
    name: name, dependencies: dependencies, path: "Product/\(name)", exclude: exclude,
    swiftSettings: settings + [.strictMemorySafety(), .treatAllWarnings(as: .error)])
}

/// With libFuzzer, of which only the driver is used: each fuzzer has a `main` of its own.
let linker: [LinkerSetting] = [
  .unsafeFlags(isCoverage ? ["-sanitize=fuzzer", "-profile-generate"] : ["-sanitize=fuzzer,address"]),
  .unsafeFlags(["-use-ld=lld"]),
  .linkedLibrary("stdc++"),
]

func fuzzer(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
  .executableTarget(
    name: name, dependencies: dependencies + ["FuzzDriver"],
    swiftSettings: settings + [.treatAllWarnings(as: .error)], linkerSettings: linker)
}

let package = Package(
  name: "Fuzz",
  dependencies: [
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
    .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
    .package(url: "https://github.com/apple/swift-metrics", from: "2.13.0"),
    .package(url: "https://github.com/groue/GRDB.swift", from: "7.10.0"),
  ],
  targets: [
    .systemLibrary(name: "COpenSSL", path: "Product/COpenSSL", pkgConfig: "openssl"),
    .systemLibrary(name: "CNetlink", path: "Product/CNetlink", pkgConfig: "libnl-route-3.0"),
    .systemLibrary(name: "CYAML", path: "Product/CYAML", pkgConfig: "yaml-0.1"),
    .systemLibrary(name: "CPcap", path: "Product/CPcap", pkgConfig: "libpcap"),
    .target(name: "CLinux", path: "Product/CLinux"),

    module("Primitives"),
    module("Kernel", ["Primitives", "CLinux"]),
    module("Packet", ["Primitives"]),
    module("Stack", ["Packet", "Primitives"]),
    module("Discovery", ["Packet", "Primitives"]),
    module("Crypto", ["Primitives", "COpenSSL"]),
    module("Framing", ["Primitives", "Crypto"]),
    module("Tun", ["Packet", "Kernel", "Primitives", "CLinux", "CNetlink", "CPcap"]),
    module("Proxy", ["Control", "Framing", "Crypto", "Tun", "Packet", "Kernel", "Primitives", "CLinux"]),
    module("Control", ["Crypto", "Primitives"]),
    module("Adapter", ["Crypto", "Stack", "Tun", "Proxy", "Control", "Framing", "Packet", "Kernel", "Primitives"]),

    .target(
      name: "Service",
      dependencies: [
        "Proxy", "Tun", "Framing", "Control", "Crypto", "Packet", "Kernel", "Primitives", "CYAML",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
        .product(name: "Logging", package: "swift-log"),
        .product(name: "CoreMetrics", package: "swift-metrics"),
      ], path: "Product/Service",
      swiftSettings: settings + [.strictMemorySafety(), .treatAllWarnings(as: .error)]),

    .target(
      name: "Access",
      dependencies: ["Control", "Crypto", "Primitives", .product(name: "GRDB", package: "GRDB.swift")],
      path: "Product/Access", swiftSettings: settings + [.strictMemorySafety(), .treatAllWarnings(as: .error)]),
    .target(
      name: "GateManager",
      dependencies: [
        "Access", "Service", "Control", "Kernel", "Primitives", "Proxy", "Crypto",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
        .product(name: "Logging", package: "swift-log"),
      ], path: "Product/GateManager", exclude: ["Commands"],
      swiftSettings: settings + [.strictMemorySafety(), .treatAllWarnings(as: .error)]),

    .target(
      name: "FuzzDriver", dependencies: ["Primitives"], swiftSettings: settings + [.treatAllWarnings(as: .error)]),
    fuzzer("packets", ["Packet", "Primitives"]),
    fuzzer("reassembly", ["Stack", "Packet", "Primitives"]),
    fuzzer("stack", ["Stack", "Packet", "Primitives"]),
    fuzzer("session", ["Proxy", "Framing", "Crypto", "Primitives"]),
    fuzzer("peer", ["Proxy", "Framing", "Crypto", "Primitives"]),
    fuzzer("records", ["Framing", "Crypto", "Primitives"]),
    fuzzer("frames", ["Framing", "Crypto", "Primitives"]),
    fuzzer("ftp", ["Proxy", "Primitives"]),
    fuzzer("proxy", ["Proxy", "Primitives"]),
    fuzzer("ethernet", ["Packet"]),
    fuzzer("bridge", ["Packet", "Primitives"]),
    fuzzer("discovery", ["Discovery", "Packet", "Primitives"]),
    fuzzer("virtio", ["Tun", "Packet", "Primitives"]),
    fuzzer("pcapng", ["Tun", "Kernel", "Primitives"]),
    fuzzer("control", ["Control", "Crypto", "Primitives"]),
    fuzzer("certificates", ["Crypto"]),
    fuzzer("logtext", ["Service"]),
    fuzzer("configuration", ["Service", "Control", "Crypto", "Proxy", "Primitives"]),
    fuzzer("front", ["GateManager", "Control", "Crypto", "Primitives"]),
    fuzzer("filter", ["Adapter", "Framing", "Control", "Primitives"]),
  ]
)
