import Testing

extension WholeSystem {
  /// What rules, and the operator on site, allow and take away, with real programs.
  @Suite struct Access {
    private static let tools = #"""
      # hold ADDRESS PORT: a connection that stays open; its process is $held.
      hold() {
        at pc bash -c "exec 3<>/dev/tcp/$1/$2 && cat <&3 >/dev/null" 2>/dev/null &
        held=$!
        sleep 1
        kill -0 $held
      }
      # cut_within MILLISECONDS: it ends, and in time.
      cut_within() {
        local took
        took=$(time_until 10 gone kill -0 $held) || { echo "it isn't cut"; return 1; }
        echo "cut after $took ms"
        [ "$took" -le "$1" ]
      }
      # says WORDS COMMAND...: the command's output has these words, whatever its status.
      says() {
        local text
        text=$("${@:2}" 2>&1)
        grep -qF -e "$1" <<<"$text" || { echo "without '$1': $text"; return 1; }
      }
      reachable() { fetch "$1" 8000/ >/dev/null 2>&1; }

      """#

    @Test("a grant has the ports of a rule, and no others; what a rule takes away is cut")
    func portsOfARule() throws {
      try World.run { world in
        let output = try world.require(
          Self.tools + #"""
            lm disconnect site-a || exit 1
            gm rule disable 1 && gm rule add --account technician --tcp 22 --tcp 8000 --ping || exit 1
            connect_site site-a || exit 1
            server=$(alias_of site-a server)
            says "permits tcp 22, 8000, not 53" lm explain $server:53 || exit 1
            says "TCP 22,8000 ping of it" gm why technician site-a server || exit 1
            fetch $server 8000/ >/dev/null || exit 1
            says "no agent" lm explain 198.18.255.254:502 || exit 1
            # What has no such port isn't granted at all.
            [ -z "$(alias_of site-a plc)" ] || { echo "the plc is there"; exit 1; }
            hold $server 22 || exit 1
            gm rule add --account technician --tcp 8000 --ping || exit 1
            sleep 1
            kill -0 $held || { echo "more was allowed, and it was cut"; exit 1; }
            gm rule disable 2 || exit 1
            cut_within 2000 || exit 1
            logged gatemanager 'the rules now allow only TCP 8000 ping of agent server' || exit 1
            # The rest is taken up again by itself.
            eventually 30 reachable $server || { echo "not reachable again"; lm status; exit 1; }
            says "permits tcp 8000, not 22" lm explain $server:22 || exit 1
            gm audit verify
            """#)
        print(output.text)
      }
    }
  }
}
