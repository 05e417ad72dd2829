// swift-tools-version: 6.3
import PackageDescription

let package = Package(
  name: "Embedding",
  dependencies: [.package(name: "RelayVPN", path: "../..")],
  targets: [
    .executableTarget(name: "Embedding", dependencies: [.product(name: "RelayVPN", package: "RelayVPN")], path: ".")
  ]
)
