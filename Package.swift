// swift-tools-version: 6.3
import PackageDescription

let settings: [SwiftSetting] = [
  .swiftLanguageMode(.v6),
  .strictMemorySafety(),
  .treatAllWarnings(as: .error),
]

/// A library target of the data path: no dependency outside this package.
func core(_ name: String, _ dependencies: [Target.Dependency] = []) -> Target {
  .target(name: name, dependencies: dependencies, swiftSettings: settings)
}

func tests(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
  .testTarget(name: name, dependencies: dependencies, swiftSettings: settings)
}

func host(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
  .executableTarget(
    name: name,
    dependencies: dependencies + [
      "Service", "Control", "Kernel", "Primitives",
      .product(name: "ArgumentParser", package: "swift-argument-parser"),
      .product(name: "Logging", package: "swift-log"),
    ],
    swiftSettings: settings)
}

let package = Package(
  name: "RelayVPN",
  products: [
    .library(
      name: "RelayVPN",
      targets: [
        "Primitives", "Kernel", "Packet", "Stack", "Discovery", "Crypto", "Framing", "Tun", "Proxy", "Control",
        "Adapter",
      ]),
    .executable(name: "gatemanager", targets: ["GateManager"]),
    .executable(name: "sitemanager", targets: ["SiteManager"]),
    .executable(name: "linkmanager", targets: ["LinkManager"]),
  ],
  dependencies: [
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
    .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
    .package(url: "https://github.com/apple/swift-metrics", from: "2.13.0"),
    .package(url: "https://github.com/groue/GRDB.swift", from: "7.10.0"),
  ],
  targets: [
    .systemLibrary(name: "COpenSSL", pkgConfig: "openssl", providers: [.apt(["libssl-dev"])]),
    .systemLibrary(
      name: "CNetlink", pkgConfig: "libnl-route-3.0", providers: [.apt(["libnl-route-3-dev"])]),
    .systemLibrary(name: "CYAML", pkgConfig: "yaml-0.1", providers: [.apt(["libyaml-dev"])]),
    .systemLibrary(name: "CPcap", pkgConfig: "libpcap", providers: [.apt(["libpcap-dev"])]),
    .target(name: "CLinux"),

    core("Primitives"),
    core("Kernel", ["Primitives", "CLinux"]),
    core("Packet", ["Primitives"]),
    core("Stack", ["Packet", "Primitives"]),
    core("Discovery", ["Packet", "Primitives"]),
    core("Crypto", ["Primitives", "COpenSSL"]),
    core("Framing", ["Primitives", "Crypto"]),
    core("Tun", ["Packet", "Kernel", "Primitives", "CLinux", "CNetlink", "CPcap"]),
    core("Proxy", ["Control", "Framing", "Crypto", "Tun", "Packet", "Kernel", "Primitives", "CLinux"]),
    core("Control", ["Crypto", "Primitives"]),
    core("Adapter", ["Crypto", "Stack", "Tun", "Proxy", "Control", "Framing", "Packet", "Kernel", "Primitives"]),
    .target(
      name: "Service",
      dependencies: [
        "Proxy", "Tun", "Framing", "Control", "Crypto", "Packet", "Kernel", "Primitives", "CYAML",
        .product(name: "ArgumentParser", package: "swift-argument-parser"),
        .product(name: "Logging", package: "swift-log"),
        .product(name: "CoreMetrics", package: "swift-metrics"),
      ],
      swiftSettings: settings),
    .target(
      name: "Access",
      dependencies: ["Control", "Crypto", "Primitives", .product(name: "GRDB", package: "GRDB.swift")],
      swiftSettings: settings),

    host("GateManager", ["Access", "Proxy", "Crypto"]),
    host("SiteManager", ["Discovery", "Tun", "Packet", "Proxy", "Framing", "Crypto"]),
    host("LinkManager", ["Adapter", "Tun", "Packet", "Proxy", "Framing", "Crypto"]),

    tests("CryptoTests", ["Crypto"]),
    .executableTarget(
      name: "StoreWriter", dependencies: ["Access", "Control", "Crypto", "Primitives"], path: "Tests/StoreWriter",
      swiftSettings: settings),
    tests(
      "AccessTests",
      ["Access", "Control", "Crypto", "Primitives", .product(name: "GRDB", package: "GRDB.swift")]),
    tests("ControlTests", ["Control", "Crypto", "Primitives"]),

    tests("FramingTests", ["Framing", "Crypto", "Primitives"]),
    tests(
      "ProxyTests",
      ["Simulation", "Proxy", "Tun", "Packet", "Framing", "Control", "Crypto", "Kernel", "Primitives", "CLinux"]),
    tests("PacketTests", ["Packet", "Primitives"]),
    tests("DiscoveryTests", ["Discovery", "Packet", "Primitives"]),
    tests("StackTests", ["Stack", "Packet", "Primitives"]),
    tests("TunTests", ["Tun", "Packet", "Kernel", "Primitives", "CLinux"]),
    tests(
      "ServiceTests",
      [
        "Service", "Tun", "Proxy", "Framing", "Control", "Crypto", "Kernel", "Primitives",
        .product(name: "Logging", package: "swift-log"), .product(name: "CoreMetrics", package: "swift-metrics"),
      ]),
    .target(name: "Trespass", path: "Tests/Trespass"),
    .target(
      name: "Trespasser", dependencies: ["Trespass", "Service", "Kernel"], path: "Tests/Trespasser",
      swiftSettings: settings),
    tests(
      "HostTests",
      [
        "Trespasser", "SiteManager", "LinkManager", "Service", "Adapter", "Tun", "Proxy", "Framing", "Control",
        "Crypto", "Kernel", "Primitives", .product(name: "Logging", package: "swift-log"),
      ]),
    tests(
      "GateManagerTests",
      [
        "Trespasser", "GateManager", "Access", "Adapter", "Proxy", "Framing", "Service", "Control", "Crypto", "Kernel",
        "Primitives",
        .product(name: "Logging", package: "swift-log"),
      ]),
    .target(name: "AllocationCounter", path: "Tests/AllocationCounter"),
    .executableTarget(
      name: "SessionProbe", dependencies: ["Adapter", "Control", "Crypto", "Framing", "Proxy"],
      path: "Tests/SessionProbe", swiftSettings: settings),
    .executableTarget(
      name: "Fleet", dependencies: ["Adapter", "Control", "Crypto", "Kernel", "Primitives", "Proxy"],
      path: "Tests/Fleet", swiftSettings: settings),
    .executableTarget(
      name: "AllocationCheck",
      dependencies: ["AllocationCounter", "Stack", "Proxy", "Framing", "Crypto", "Packet", "Primitives"],
      path: "Tests/AllocationCheck", swiftSettings: settings),
    .target(
      name: "Simulation",
      dependencies: [
        "Adapter", "Control", "Crypto", "Framing", "Kernel", "Packet", "Primitives", "Proxy", "Stack", "Tun",
      ],
      path: "Tests/Simulation", swiftSettings: settings),
    .executableTarget(
      name: "Simulator", dependencies: ["Simulation"], path: "Tests/Simulator", swiftSettings: settings),
    tests(
      "SimulationTests",
      ["Simulation", "Adapter", "Control", "Kernel", "Stack", "Packet", "Proxy", "Tun", "Primitives"]),
    .executableTarget(
      name: "StackPeer", dependencies: ["Stack", "Tun", "Packet", "Kernel", "Primitives", "Crypto"],
      path: "Tests/StackPeer", swiftSettings: settings),
    .executableTarget(
      name: "BadLink", dependencies: ["Tun", "Packet", "Kernel", "Primitives"],
      path: "Tests/BadLink", swiftSettings: settings),
    .testTarget(
      name: "Scenarios",
      exclude: [
        "world.sh", "bad-path.sh", "restarts.sh", "odd-devices.sh", "real-programs.sh", "ethernet.sh", "programs",
      ],
      swiftSettings: settings),
    tests("PrimitivesTests", ["Primitives"]),
    tests(
      "AdapterTests",
      [
        "Simulation", "Adapter", "Tun", "Stack", "Proxy", "Framing", "Packet", "Control", "Crypto", "Kernel",
        "Primitives",
      ]),
  ]
)
