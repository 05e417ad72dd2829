# shellcheck shell=bash disable=SC2034,SC2154  # shares variables with the scripts that source it
# Hosts and devices that are killed and come back: what was open, what comes after, and what is left behind.

cut_off=$root/Tests/Scenarios/programs/cut_off.py

# supervise NAME PART COMMAND...: like `start`, but starts it again a second after it ended, as a service manager does.
supervise() {
  # shellcheck disable=SC2016  # the inner shell's arguments
  ip netns exec "$prefix-$2" setsid bash -c 'while :; do "$@"; sleep 1; done' supervise "${@:3}" \
    >"$state/log/$1" 2>&1 </dev/null &
}

# supervised_hosts: the three hosts and a device for cut_off.py, all of which come back whatever happens to them.
supervised_hosts() {
  # shellcheck disable=SC2317  # the functions that set up hosts call it
  start() { supervise "$@"; }
  start_gate && start_site a && start_link && connect_site site-a || return 1
  supervise cut-device device-a "$python" "$cut_off" device 192.168.10.10 8007 "$state/cuts"
  eventually 10 grep -qs listening "$state/cuts"
}

# victim HOST: the process of one of gate, site, link and device: neither the shell that starts it again, which has the
# same words behind its own, nor one of its own command lines.
victim() {
  case $1 in
    gate) process relay "$bin/gatemanager run" ;;
    site) process site-a "$bin/sitemanager run" ;;
    link) process pc "$bin/linkmanager run" ;;
    device) process device-a "$python $cut_off device" ;;
  esac
}

# process PART WORDS: the one in the part's namespace whose command line begins so.
process() {
  local pid
  for pid in $(ip netns pids "$prefix-$1"); do
    [[ $(tr '\0' ' ' <"/proc/$pid/cmdline") != "$2 "* ]] || echo "$pid"
  done 2>/dev/null
}

# ended PID: by now it is neither there nor left for its parent to bury.
ended() { ! kill -0 "$1" 2>/dev/null; }

# monotonic: the time on the clock of cut_off.py
monotonic() { "$python" -c 'import time; print(f"{time.monotonic():.3f}")'; }

# kill_while_open HOST SIGNAL: kills it while an idle connection and one transfer each way are open. One line for each of the three:
# MODE CLIENT-SAW SECONDS DEVICE-SAW SECONDS. A device that is killed itself saw nothing.
kill_while_open() {
  local mode killed alias clients=() pid
  alias=$(alias_of site-a web)
  : >"$state/cuts"
  for mode in idle up down; do
    : >"$state/client-$mode"
    at pc timeout 100 "$python" "$cut_off" client "$alias" 8007 "$mode" >"$state/client-$mode" 2>&1 &
    clients+=($!)
  done
  for mode in idle up down; do
    eventually 30 grep -q open "$state/client-$mode" || return 1
  done
  pid=$(victim "$1")
  killed=$(monotonic)
  kill "-$2" "$pid"
  wait "${clients[@]}"
  [ "$1" = device ] || eventually 30 cuts_are_told
  eventually 10 ended "$pid" || return 1
  for mode in idle up down; do
    echo "$mode $(since "$killed" <"$state/client-$mode")" \
      "$(grep "^${mode:0:1} " "$state/cuts" | cut -d ' ' -f 2- | since "$killed")"
  done
}

cuts_are_told() { [ "$(grep -c '^[iud] ' "$state/cuts")" -eq 3 ]; }

# since START: the last line's outcome, and seconds since then; a dash each if there is none.
since() {
  awk -v start="$1" '{ outcome = $1; time = $2 } END { if (time == "") print "- -"; else print outcome, time - start }'
}

# stop_in_handshake: makes a wish to connect wait for the site, which is stopped. The wish's end goes to $state/wish.
stop_in_handshake() {
  lm disconnect site-a >/dev/null
  eventually 10 no_sessions || return 1
  kill -STOP "$(victim site)"
  : >"$state/wish"
  {
    lm connect site-a >"$state/wish.said" 2>&1
    echo "$? $(monotonic)" >"$state/wish"
  } &
  eventually 10 gate_waits
}

gate_sessions() {
  at relay timeout 10 "$bin/gatemanager" status --json --directory "$state/gatemanager" |
    "$python" -c 'import json, sys; print(*(s["stage"] for s in json.load(sys.stdin)["sessions"]))'
}

no_sessions() { [ -z "$(gate_sessions)" ]; }

gate_waits() { [ "$(gate_sessions)" = meeting ]; }

# kill_in_handshake HOST SIGNAL: kills it while LinkManager waits for the site. Says how the wish ended and after how many
# seconds, and what was said.
kill_in_handshake() {
  local killed pid site
  stop_in_handshake || return 1
  pid=$(victim "$1")
  site=$(victim site)
  killed=$(monotonic)
  kill "-$2" "$pid"
  # A stopped process takes SIGKILL at once, and SIGTERM when it goes on. Where another one dies the site goes on as well,
  # a moment later: it wasn't to answer before.
  if [ "$1 $2" != "site KILL" ]; then
    sleep 0.5
    kill -CONT "$site"
  fi
  eventually 40 test -s "$state/wish" || return 1
  eventually 10 ended "$pid" || return 1
  # Nobody holds on to a session that never began.
  eventually 15 no_sessions || return 1
  echo "$(since "$killed" <"$state/wish") $(tail -n 1 "$state/wish.said")"
  eventually 60 connect_once site-a
}

# comes_back: a page through the tunnel, without anybody's help.
comes_back() {
  local start
  start=$(monotonic)
  eventually 60 fetch "$(alias_of site-a web)" || return 1
  "$python" -c "import time; print(f'back after {time.monotonic() - $start:.1f} s')"
}

# census: all that must be as it was, once everything is idle again.
census() {
  local part pid
  for part in "gate gatemanager" "site sitemanager" "link linkmanager"; do
    pid=$(victim "${part% *}")
    echo "${part#* }: descriptors but for the relay's pipes, and threads with a name of their own"
    find "/proc/$pid/fd" -type l -printf '%l\n' | sed 's/^socket:.*/socket/; s/ (deleted)//' | grep -v -e '^pipe' -e timerfd | sort | uniq -c
    cat "/proc/$pid"/task/*/comm | grep -vx -e "${part#* }" -e request -e '.*qos.*' | sort | uniq -c
  done
  echo "the PC's links, addresses, routes and connections"
  ip -n "$prefix-pc" -o link | cut -d : -f 2
  ip -n "$prefix-pc" -o address | awk '$4 !~ /^fe80/ { print $2, $4 }'
  ip -n "$prefix-pc" route
  ip -n "$prefix-pc" -6 route | grep -v ^fe80
  at pc ss -Htn state connected exclude time-wait | awk '{ print $1, $5 }'
  echo "the device's connections"
  at device-a ss -Htn state connected exclude time-wait sport = :8007
  echo "the site's connections"
  at site-a ss -Htn state connected exclude time-wait | awk '{ print $1, $5 }'
  echo "state"
  (cd "$state" && find gatemanager linkmanager site-a | sort)
  echo "processes"
  for part in relay site-a pc device-a; do
    for pid in $(ip netns pids "$prefix-$part"); do
      sed -n 's/^State:\t\(Z\)/&/p' "/proc/$pid/status"
      cat "/proc/$pid/comm"
    done 2>/dev/null | grep -vx -e sleep | sort | uniq -c
  done
}

# same_census: everything is as $state/census says it was.
same_census() { diff "$state/census" <(census); }

# kill_while_connecting HOST SIGNAL: kills it at a random moment of a connect and of the fetch that follows it.
kill_while_connecting() {
  local pid wish
  lm disconnect site-a >/dev/null
  pid=$(victim "$1")
  { lm connect site-a && fetch "$(alias_of site-a web)"; } >"$state/wish.said" 2>&1 &
  wish=$!
  sleep "0.$((RANDOM % 10))$((RANDOM % 10))"
  kill "-$2" "$pid"
  wait "$wish"
  echo "$? $(tail -n 1 "$state/wish.said")"
  eventually 10 ended "$pid" || return 1
  # The wish may have come true or not; after a second one everything has to work.
  eventually 60 connect_once site-a && comes_back
}
