# shellcheck shell=bash disable=SC2154  # shares variables with world.sh, whose functions it uses
# Many at once: functions of the tests in ScaleTests.swift. Figures are printed as lines of a name and a number.

here=$root/Tests/Scenarios/programs

# The echo service of flood.py, reached by TCP and UDP, and 100 agents for it, each a device of its own.
write_agents() {
  {
    echo "agents:"
    echo "  - {name: server, device: 192.168.10.30, tcp: [8000, 8005-8006, 5201], udp: [8005], ping: true}"
    local number
    for number in {1..100}; do
      echo "  - {name: cell-$number, device: 192.168.10.$((100 + number)), tcp: [8005], udp: [8005]}"
    done
  } >"$1"
}

# start_echo LETTER: the devices behind these agents.
start_echo() {
  local number
  for number in {1..100}; do ip -n "$prefix-device-$1" address add "192.168.10.$((100 + number))/24" dev lan; done
  start "echo-$1" "device-$1" "$python" "$here/flood.py" serve 0.0.0.0 8005
  eventually 10 grep -q listening "$state/log/echo-$1"
}

# start_all: site A with these agents, and all hosts.
start_all() {
  if ! { start_echo a && start_gate && start_site a && start_link && connect_site site-a; }; then
    show_logs
    return 1
  fi
}

# footprint WHEN: resident memory in KiB, descriptors and sockets of the hosts. Empty pipes that the relay keeps for the
# next session (PipePool, 32 a thread) aren't counted, nor the timers that the Swift runtime makes when it likes.
footprint() {
  local part program pid
  for part in "relay gatemanager" "site-a sitemanager" "pc linkmanager"; do
    program=${part#* }
    pid=$(host_pid "${part% *}" "$program")
    [ -n "$pid" ] || continue
    echo "$1.$program.memory $(awk '$1 == "VmRSS:" { print $2 }' "/proc/$pid/status")"
    echo "$1.$program.descriptors $(find "/proc/$pid/fd" -mindepth 1 ! -lname 'pipe:*' ! -lname '*timerfd*' | wc -l)"
  done
  echo "$1.sockets $(at site-a ss --no-header --tcp --udp --all state connected exclude time-wait | wc -l)"
}

# flood NAME TCP UDP BYTES: as many flows from the PC, all open at once; says what came of them, and the hosts' figures
# meanwhile. Then they are closed.
flood() {
  local report input
  coproc FLOOD { at pc "$python" "$here/flood.py" ask "$(alias_of site-a server)" 8005 "$2" "$3" "$4" 2>&1; }
  # shellcheck disable=SC2034  # kept open until the report is in
  exec {input}>&"${FLOOD[1]}"
  read -r -t 100 -u "${FLOOD[0]}" report || report='{}'
  echo "$1.report $report"
  footprint "$1"
  exec {input}>&-
  eval "exec ${FLOOD[1]}>&-"
  wait "$FLOOD_PID"
}

link_flows() {
  local flows
  flows=$(lm status --json | tr -d ' \n' | grep -oE '"(tcpFlows|udpFlows)":[0-9]+' | grep -oE '[0-9]+$' | paste -sd+ | bc)
  [ "$flows" -le "$1" ]
}

# fleet SITES USERS PCS: enrolled, logged in and connecting; see Tests/Fleet. Ends with the script.
fleet() {
  local codes=$state/fleet.codes users=$state/fleet.users number names
  : >"$codes"
  : >"$users"
  mapfile -t names < <(seq -f 'fleet-%04g' 1 "$1")
  [ "$1" -eq 0 ] || briefly relay "$bin/gatemanager" site add "${names[@]}" --directory "$state/gatemanager" >"$codes" ||
    return 1
  for number in $(seq 1 "$2"); do
    briefly relay "$bin/gatemanager" user add "user-$number" --directory "$state/gatemanager" \
      --password-file "$state/password" >/dev/null || return 1
    echo "user-$number" >>"$users"
  done
  coproc FLEET { at pc "$bin/Fleet" "$gate" "$codes" "$users" "$password" "$3" 8005 2>"$state/log/fleet"; }
  read -r -t 500 -u "${FLEET[0]}" joined || { cat "$state/log/fleet"; return 1; }
  echo "joined $joined"
}

# ask_fleet COMMAND...: its answer in `answer`.
ask_fleet() {
  echo "$*" >&"${FLEET[1]}"
  read -r -t 120 -u "${FLEET[0]}" answer
}

# await_fleet COUNT SECONDS: until so many are connected. Not by `eventually`, whose subshell has no access to Fleet.
await_fleet() {
  local deadline=$((SECONDS + $2))
  until ask_fleet report && [[ $answer == *"\"connected\":$1,"* ]]; do
    [ "$SECONDS" -lt "$deadline" ] || return 1
    sleep 0.5
  done
}

# processor_time PID: what it has used, in hundredths of a second.
processor_time() {
  awk '{ print $14 + $15 }' "/proc/$1/stat"
}

# timed NAME COMMAND...: how many milliseconds it takes to succeed.
timed() {
  local start=${EPOCHREALTIME/./}
  "${@:2}" || return 1
  echo "$1 $(((${EPOCHREALTIME/./} - start) / 1000))"
}
