import Foundation
import Testing

extension WholeSystem {
  /// The library in someone else's program.
  @Suite struct Embedding {
    @Test("a package that depends on this one by version builds and reaches an agent, without device or unsafe flags")
    func scratchPackageByVersion() throws {
      let example = Place.root.path + "/Examples/Embedding"
      let program = try String(contentsOfFile: example + "/main.swift", encoding: .utf8)
      #expect(program.split(separator: "\n", omittingEmptySubsequences: false).count <= 31)
      try World.run { world in
        // What is committed or about to be, as a repository with a tag: unsafe flags are refused in one by version.
        try world.require(
          """
          package=$state/RelayVPN
          mkdir $package $state/scratch
          (cd $root && git ls-files -z --cached --others --exclude-standard | xargs -0 cp -P --parents -t $package) || exit 1
          git -C $package init -q && git -C $package add -A &&
            git -C $package -c user.name=test -c user.email=test@example.org commit -q -m test &&
            git -C $package tag 0.0.1-test && git clone -q --bare $package $state/RelayVPN.git || exit 1
          cp $root/Examples/Embedding/main.swift $state/scratch
          cat >$state/scratch/Package.swift <<END
          // swift-tools-version: 6.3
          import PackageDescription

          let package = Package(
            name: "Scratch",
            dependencies: [.package(url: "file://$state/RelayVPN.git", exact: "0.0.1-test")],
            targets: [
              .executableTarget(
                name: "Scratch", dependencies: [.product(name: "RelayVPN", package: "RelayVPN")], path: ".")
            ]
          )
          END
          """)
        let build = try world.run(
          "swift build --package-path $state/scratch 2>&1 | tail -n 40; exit ${PIPESTATUS[0]}", limit: 900)
        try #require(build.status == 0, "\(build)")
        // The account is the technician's, whose LinkManager is off now: no TUN device is involved.
        let page = try world.run(
          """
          kill -TERM $(host_pid pc linkmanager)
          key=$(briefly site-a $bin/sitemanager status --json --directory $state/site-a |
            $python -c 'import json, sys; print(json.load(sys.stdin)["siteKey"])')
          sleep 1
          ip -n $prefix-pc link show relay0 2>/dev/null && exit 2
          at pc timeout 30 $state/scratch/.build/debug/Scratch $state/linkmanager $key site-a
          """)
        #expect(page.status == 0 && page.text.contains("web panel of site a"), "\(page)")
      }
    }
  }
}
