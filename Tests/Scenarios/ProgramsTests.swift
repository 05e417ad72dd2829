import Testing

extension WholeSystem {
  /// Programs that people use, as they are: how they end a direction or a connection has to reach the other side.
  @Suite struct RealPrograms {
    private func withPrograms(_ body: (World) throws -> Void) throws {
      try World.run { world in
        try world.require(". $root/Tests/Scenarios/real-programs.sh; start_real_programs")
        try body(world)
      }
    }

    /// What a function of real-programs.sh compared was the same.
    private func expectSame(_ words: String, _ world: World, limit: Int = 120) throws {
      let output = try world.run(". $root/Tests/Scenarios/real-programs.sh; \(words)", limit: limit)
      #expect(output.status == 0 && output.lastLine == "same", "\(words): \(output)")
    }

    @Test("nc -N both ways, HTTP/1.0 until close, rsync, FTP, and half a minute of silence")
    func programs() throws {
      try withPrograms { world in
        try world.require(". $root/Tests/Scenarios/real-programs.sh; idle_echo 9103 30 >$state/idle 2>&1 &")
        try expectSame("half_close_by_client", world)
        try expectSame("half_close_by_server", world)
        try expectSame("until_close", world)
        try expectSame("rsync_both_ways", world)
        try expectSame("ftp_by_curl epsv", world)
        try expectSame("ftp_by_curl pasv --disable-epsv", world)
        try expectSame("ftp_by_curl eprt --ftp-port -", world)
        try expectSame("ftp_by_curl port --ftp-port - --disable-eprt", world)
        try expectSame("ftp_by_lftp passive yes", world)
        try expectSame("ftp_by_lftp active no", world)
        try expectSame("ftp_ends_shut", world)
        try expectSame("eventually 40 grep -q same $state/idle && cat $state/idle", world)
      }
    }

    @Test("ten minutes of silence", .enabled(if: Soak.isWanted, "\(Soak.comment)"))
    func silence() throws {
      try withPrograms { world in
        try expectSame("idle_echo 9103 630", world, limit: 720)
      }
    }
  }
}
