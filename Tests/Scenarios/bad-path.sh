#!/usr/bin/env bash
# Bad paths of a scenario test: the stack or a kernel at their near end, a kernel at their far end, and between them a
# line that loses, delays, duplicates and reorders (BadLink), or a router whose firewall drops.
#
#   bad-path.sh run SCRIPT   runs SCRIPT with the functions below at hand
#   bad-path.sh guard        waits for the end of its input, then takes it all down, whatever became of the test
#
# SCENARIO_STATE: a directory; RELAYVPN_DEMO_PREFIX: of the namespaces; RELAYVPN_BIN: where StackPeer and BadLink are.
#
# A lane is a pair of namespaces, so that several transfers may run side by side:
#
#   PREFIX-LANE-near   10.9.0.1 fd00:9::1   a kernel; behind its TUN device `stack0` the stack, 10.9.1.2 fd00:9:1::2
#   PREFIX-LANE-far    10.9.0.2 fd00:9::2   a kernel
set -uo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
state=$SCENARIO_STATE
prefix=$RELAYVPN_DEMO_PREFIX
bin=$RELAYVPN_BIN
export PYTHONDONTWRITEBYTECODE=1

# within SECONDS COMMAND...: repeats the command until it succeeds.
within() {
  local deadline=$((SECONDS + $1))
  until "${@:2}" >/dev/null 2>&1; do
    [ "$SECONDS" -lt "$deadline" ] || { echo "in vain: ${*:2}" >&2 && return 1; }
    sleep 0.02
  done
}

# at PLACE COMMAND...
at() { ip netns exec "$prefix-$1" "${@:2}"; }

# place NAME: a namespace in which every kernel behaves the same, and remembers nothing of earlier connections.
place() {
  ip netns add "$prefix-$1" && ip -n "$prefix-$1" link set lo up &&
    at "$1" sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1 net.ipv4.conf.all.send_redirects=0 \
      net.ipv4.tcp_congestion_control=reno net.ipv4.tcp_no_metrics_save=1
}

# lane_up LANE
lane_up() {
  local near=$1-near
  place "$near" && place "$1-far" && ip -n "$prefix-$near" tuntap add dev stack0 mode tun &&
    ip -n "$prefix-$near" link set stack0 up txqueuelen 4000 &&
    ip -n "$prefix-$near" route add 10.9.1.0/24 dev stack0 &&
    ip -n "$prefix-$near" -6 route add fd00:9:1::/64 dev stack0
}

# ends_up LANE DEVICE DEVICE [GATEWAY]: addresses and routes once the lane's two ends have their devices.
ends_up() {
  local near=$prefix-$1-near far=$prefix-$1-far
  ip -n "$near" address add 10.9.0.1/24 dev "$2" && ip -n "$near" address add fd00:9::1/64 dev "$2" nodad &&
    ip -n "$far" address add 10.9.0.2/24 dev "$3" && ip -n "$far" address add fd00:9::2/64 dev "$3" nodad &&
    ip -n "$near" link set "$2" up && ip -n "$far" link set "$3" up &&
    ip -n "$far" route add 10.9.1.0/24 via 10.9.0.1 && ip -n "$far" -6 route add fd00:9:1::/64 via fd00:9::1
}

# line_up LANE SEED OPTION...: a new BadLink; `line` is its process.
line_up() {
  local near=$prefix-$1-near
  ip netns exec "$near" "$bin/BadLink" near=near0 far=far0 "seed=$2" "${@:3}" >"$state/line-$1" 2>&1 </dev/null &
  line=$!
  within 10 ip -n "$near" link show far0 || { cat "$state/line-$1" && return 1; }
  ip -n "$near" link set near0 txqueuelen 4000 && ip -n "$near" link set far0 txqueuelen 4000 netns "$prefix-$1-far" &&
    ends_up "$1" near0 far0
}

line_down() {
  kill "$line" && wait "$line"
  within 5 no_line "$1"
} 2>/dev/null
no_line() { ! ip -n "$prefix-$1-near" link show near0; }

# router_up LANE: instead of a line a router of its own between the two ends, for rules of nft. Super-segments are cut
# before they come to it, so that packets are lost one by one.
router_up() {
  local lane=$1 router=$prefix-$1-router end own
  place "$lane-router" || return 1
  for end in near far; do
    [ "$end" = near ] && own=10.9.0.1 || own=10.9.0.2
    ip link add wan netns "$prefix-$lane-$end" type veth peer name "$end" netns "$router" &&
      ip -n "$router" address add 10.9.0.254/32 dev "$end" && ip -n "$router" link set "$end" up &&
      ip -n "$router" route add "$own" dev "$end" &&
      ip -n "$prefix-$lane-$end" address add "$own/32" dev wan && ip -n "$prefix-$lane-$end" link set wan up &&
      ip -n "$prefix-$lane-$end" route add 10.9.0.254 dev wan &&
      ip -n "$prefix-$lane-$end" route add default via 10.9.0.254 || return 1
    at "$lane-$end" ethtool -K wan tso off gso off gro off >/dev/null
    at "$lane-router" ethtool -K "$end" tso off gso off gro off >/dev/null
  done
  ip -n "$router" route add 10.9.1.0/24 via 10.9.0.1 dev near
}

# transfer LANE WHO ROLE TASK FAMILY BYTES SEED [STACK-OPTION...]: one connection between the near end, which is
# WHO (stack, kernel) in that role, and the far end, which does the opposite. What each of them reports, in a line.
transfer() {
  local lane=$1 who=$2 role=$3 task=$4 family=$5 bytes=$6 seed=$7 opposite=sink near far
  case $family:$who in
    4:stack) near=10.9.1.2 far=10.9.0.2 ;;
    6:stack) near=fd00:9:1::2 far=fd00:9::2 ;;
    4:kernel) near=10.9.0.1 far=10.9.0.2 ;;
    6:kernel) near=fd00:9::1 far=fd00:9::2 ;;
  esac
  case $task in
    sink) opposite=source ;;
    echo) opposite=exchange ;;
  esac
  if [ "$role" = listen ]; then
    near_end "$near" "${@:8}" &
    listens "$lane" near && peer "$lane-far" connect "$opposite" "$near"
  else
    peer "$lane-far" listen "$opposite" "$far" &
    listens "$lane" far && near_end "$far" "${@:8}"
  fi
  wait $!
  echo "$lane near $(<"$state/$lane-near")"
  echo "$lane far $(<"$state/$lane-far")"
}

# near_end ADDRESS [STACK-OPTION...]: the near end of `transfer`, which listens on the address or connects to it.
near_end() {
  if [ "$who" = kernel ]; then
    peer "$lane-near" "$role" "$task" "$1"
  else
    at "$lane-near" timeout 100 "$bin/StackPeer" device=stack0 "local=$near,7000" "remote=$far,7000" "role=$role" \
      "task=$task" "bytes=$bytes" "seed=$seed" limit=90 "${@:2}" >"$state/$lane-near" 2>&1
  fi
}

# peer PLACE ROLE TASK ADDRESS: a kernel's end, with `bytes` and `seed` of the transfer.
peer() {
  at "$1" timeout 100 python3 "$root/Tests/Scenarios/programs/kernel_peer.py" "$2" "$3" "$4" 7000 "$bytes" "$seed" \
    >"$state/$1" 2>&1
}

# listens LANE END: waits until the end is there that listens.
listens() {
  if [ "$2:$who" = near:stack ]; then within 10 has_carrier "$1"; else within 10 is_listening "$1-$2"; fi
}
has_carrier() { ip -n "$prefix-$1-near" link show stack0 | grep -q LOWER_UP; }
is_listening() { [ -n "$(at "$1" ss -Hltn 'sport = :7000')" ]; }

# over LANE SEED LINE-OPTIONS TRANSFER-WORDS...: a transfer with that seed over a line of its own.
over() {
  local line options status
  read -r -a options <<<"$3"
  line_up "$1" "$2" "${options[@]}" || return 1
  transfer "$1" "${@:4:5}" "$2" "${@:9}"
  status=$?
  line_down "$1"
  return "$status"
}

all_down() {
  local namespace pids
  for _ in {0..30}; do
    mapfile -t pids < <(for namespace in /run/netns/"$prefix"-*; do
      [ ! -e "$namespace" ] || ip netns pids "${namespace##*/}"
    done)
    [ "${#pids[@]}" -gt 0 ] || break
    kill -KILL "${pids[@]}" 2>/dev/null
    sleep 0.1
  done
  for namespace in /run/netns/"$prefix"-*; do
    [ ! -e "$namespace" ] || ip netns delete "${namespace##*/}"
  done
  rm -rf "$state"
}

case ${1-} in
  run) eval "$2" ;;
  guard)
    trap '' INT TERM HUP
    cat >/dev/null
    all_down
    ;;
  *)
    echo "usage: $0 run SCRIPT | guard" >&2
    exit 64
    ;;
esac
