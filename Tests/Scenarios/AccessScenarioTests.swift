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
      sm() { briefly site-a "$bin/sitemanager" "$@" --directory "$state/site-a"; }
      is_gone() { [ -z "$(host_pid "$1" "$2")" ]; }
      reachable() { fetch "$1" 8000/ >/dev/null 2>&1; }
      reconnected() { connect_once site-a >/dev/null 2>&1; }

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
            # Which of the two says no: the agent has the port, and the rule doesn't give it.
            says "not 53; GateManager: allowed by rule 2, TCP 22,8000 ping of it" lm why site-a/server:53 || exit 1
            lm why $server:22 || exit 1
            says "site site-b is not connected: use" lm why site-b/plc:502 || exit 1
            says "there is no site of this name" lm why site-b/plc:502 || exit 1
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

    @Test("a reason is asked for, and the end of a slot cuts what is open, to the second")
    func endOfASlot() throws {
      try World.run { world in
        print(try world.require("slot_ends && switched_off_on_site && gm audit verify", limit: 240).text)
      }
    }

    @Test("codes of an authenticator app are asked for, taken once, and slowed down when they are guessed")
    func oneTimeCodes() throws {
      try World.run { world in
        let output = try world.require(
          Self.tools + #"""
            log_in() {
              briefly pc "$bin/linkmanager" login --directory "$state/linkmanager-2" --gate "$gate_name" --user technician \
                --password-file "$state/password" --yes "$@"
            }
            # Not within the last seconds of a step: the next one would be another.
            code() {
              while [ $(($(date +%s) % 30)) -gt 25 ]; do sleep 1; done
              oathtool --totp --base32 "$secret" --now "@$(($(date +%s) + ${1-0}))"
            }
            uri=$(gm account totp enrol technician) || exit 1
            secret=$(sed -n 's/.*secret=\([A-Z2-7]*\)&.*/\1/p' <<<"$uri")
            [ ${#secret} = 32 ] && says "otpauth://totp/gm.example:technician?" echo "$uri" || exit 1
            says "a one-time code is asked for" log_in || exit 1
            log_in && exit 1
            code >$state/code
            log_in --code-file - <$state/code || exit 1
            says "wrong, or was used" log_in --code-file $state/code || exit 1
            # Not after a restart either.
            kill -TERM $(host_pid relay gatemanager)
            eventually 10 is_gone relay gatemanager || exit 1
            start gatemanager-again relay "$bin/gatemanager" run --directory "$state/gatemanager" --listen "$gate_listen"
            eventually 15 says "connections" gm status || exit 1
            says "wrong, or was used" log_in --code-file $state/code || exit 1
            code 30 | log_in --code-file - || exit 1
            # Required by role: who has none can't log in.
            gm domain require-code ROOT --role mobile && gm account add bob --role mobile --password-file $state/password || exit 1
            says "you have none" briefly pc "$bin/linkmanager" login --directory "$state/linkmanager-3" \
              --gate "$gate_name" --user bob --password-file "$state/password" --yes || exit 1
            says missing gm account list || exit 1
            for _ in 1 2 3 4 5 6; do code 600 | log_in --code-file - >/dev/null 2>&1; done
            says "too many failed tries" log_in --code-file $state/code || exit 1
            gm audit verify || exit 1
            gm audit list >$state/audit
            for entry in 'refusal .*reason="no one-time code"' 'refusal .*reason="a used one-time code"' \
              'refusal .*reason="a wrong one-time code"' 'change .*operation="enrolOneTimeCode"' \
              'refusal .*reason="no one-time codes enrolled"'; do
              grep -q -e "$entry" $state/audit || { echo "no entry $entry"; cat $state/audit; exit 1; }
            done
            ! grep -q "$secret" $state/audit $state/log/*
            """#)
        print(output.text)
      }
    }

    @Test("on site, one agent or all is switched off: it is cut, told, kept over a restart, and on again")
    func vetoOnSite() throws {
      try World.run { world in
        let output = try world.require(
          Self.tools + #"""
            server=$(alias_of site-a server) plc=$(alias_of site-a plc)
            hold $server 22 || exit 1
            says "no agent" sm remote off crane || exit 1
            sm remote off server --reason "press 4 is being set up" || exit 1
            cut_within 2000 || exit 1
            eventually 2 says "switched off on site: press 4 is being set up" lm status || exit 1
            says "denied: agent site-a/server: switched off on site: press 4" lm explain $server:22 || exit 1
            says "agent site-a/server: switched off on site: press 4" lm why site-a/server:22 || exit 1
            says "switched off on site: press 4" gm why technician site-a server || exit 1
            says "DOWN" sm status || exit 1
            probe $server 22 2 && { echo "it can be reached"; exit 1; }
            # Others of the same session go on.
            probe $plc 502 2 || exit 1
            # All of it, by a file that somebody writes.
            hold $plc 502 || exit 1
            echo '{"off": {"reason": "maintenance"}}' >$state/site-a/remote.json
            cut_within 2000 || exit 1
            off="remote access is switched off on site: maintenance"
            eventually 3 says "$off" lm status || exit 1
            eventually 3 says "$off" lm explain $plc:502 || exit 1
            says "$off" lm why site-a/plc:502 || exit 1
            eventually 3 says "$off" gm why technician site-a plc || exit 1
            lm disconnect site-a
            says "$off" lm connect site-a --reason again || exit 1
            # It stays off when the service comes again.
            kill -KILL $(host_pid site-a sitemanager)
            eventually 10 gone sm status >/dev/null 2>&1
            start site-a-again site-a "$bin/sitemanager" run --directory $state/site-a --agents $state/site-a.yaml
            eventually 20 says "$off" lm connect site-a --reason again || exit 1
            says "$off" sm status || exit 1
            sm remote on || exit 1
            eventually 20 reconnected || { lm connect site-a --reason again; exit 1; }
            fetch $(alias_of site-a server) 8000/ >/dev/null || exit 1
            gm audit verify || exit 1
            for entry in 'veto .*operation="switchOff"' 'veto .*agents="server"' 'veto .*operation="switchOn"' \
              'disconnect .*remote access is switched off on site: maintenance'; do
              gm audit list | grep -q -e "$entry" || { echo "no entry $entry"; gm audit list; exit 1; }
            done
            """#)
        print(output.text)
      }
    }
  }
}
