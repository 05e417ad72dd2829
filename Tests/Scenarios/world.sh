#!/usr/bin/env bash
# shellcheck disable=SC2034  # variables are for the sourced files and for the scripts of the tests
# One world of a scenario test: the namespaces, devices and hosts of the demonstration, under a prefix of their own.
#
#   world.sh run SCRIPT   runs SCRIPT with all functions of the demonstration at hand
#   world.sh guard        waits for the end of its input, then takes the world down, whatever became of the test
#
# SCENARIO_STATE: the world's directory; RELAYVPN_DEMO_PREFIX: of its namespaces; RELAYVPN_BIN: the hosts' binaries.
set -uo pipefail

demo=$(cd "$(dirname "${BASH_SOURCE[0]}")/../../Demo" && pwd)
# shellcheck source=Demo/common.sh
. "$demo/common.sh"
# shellcheck source=Demo/devices.sh
. "$demo/devices.sh"
# shellcheck source=Demo/hosts.sh
. "$demo/hosts.sh"
# shellcheck source=Demo/steps.sh
. "$demo/steps.sh"

state=$SCENARIO_STATE
bin=$RELAYVPN_BIN
# The marker goes through the tunnel and must not be seen outside.
marker=RVPLAIN-scenario
password=Scenario-5a1c0ffee

# host_pid PART PROGRAM: the process of that name in the part's namespace.
host_pid() {
  local pid
  for pid in $(ip netns pids "$prefix-$1"); do
    [ "$(cat "/proc/$pid/comm" 2>/dev/null)" != "$2" ] || echo "$pid"
  done | head -n 1
}

# fetch ADDRESS [PORT/PATH] [CURL-OPTION...]: a page, from the PC.
fetch() {
  at pc curl --silent --show-error --max-time 20 --noproxy '*' "${@:3}" "$(url "$1" "${2-}")"
}

# sever PART, mend PART: from now on nothing passes between the part and the public network, and nobody is told: no
# reset, no ICMP error, no loss of carrier.
sever() { bridge -n "$prefix-relay" link set dev "$1" state disabled; }
mend() { bridge -n "$prefix-relay" link set dev "$1" state forwarding; }

# sever_lan LETTER, mend_lan LETTER: the same between a SiteManager and its devices.
sever_lan() {
  at "device-$1" nft 'add table netdev severed; add chain netdev severed in { type filter hook ingress device lan priority 0; policy drop; }' &&
    at "site-$1" nft 'add table netdev severed; add chain netdev severed in { type filter hook ingress device lan priority 0; policy drop; }'
}
mend_lan() { at "device-$1" nft delete table netdev severed && at "site-$1" nft delete table netdev severed; }

# clock: milliseconds, to measure with.
clock() { echo $((${EPOCHREALTIME/./} / 1000)); }

# time_until SECONDS COMMAND...: repeats the command until it succeeds; says how many milliseconds that took.
time_until() {
  local start
  start=$(clock)
  eventually "$@" >/dev/null || return 1
  echo $(($(clock) - start))
}

# gone COMMAND...: succeeds once the command fails.
gone() { ! "$@"; }

# logged LOG PATTERN [COUNT]: whether the log has that many lines, or one, with the pattern.
logged() { [ "$(grep -c -e "$2" "$state/log/$1")" -ge "${3-1}" ]; }

# count_logged LOG PATTERN
count_logged() { grep -c -e "$2" "$state/log/$1"; }

# opens ADDRESS PORT: whether a connection comes about within two seconds.
opens() { probe "$1" "$2" 2; }

# cpu PART PROGRAM: milliseconds of processor time that it has used so far.
cpu() {
  local fields
  read -r -a fields <<<"$(cut -d ')' -f 2- "/proc/$(host_pid "$1" "$2")/stat")"
  echo $(((fields[11] + fields[12]) * 1000 / $(getconf CLK_TCK)))
}

case ${1-} in
  run) eval "$2" ;;
  guard)
    trap '' INT TERM HUP
    cat >/dev/null
    topology_down "$prefix"
    while read -r _ mounted _; do
      [ "${mounted#"$state"/}" = "$mounted" ] || umount "$mounted"
    done </proc/mounts
    rm -rf "$state" "/etc/netns/$prefix-"*
    ;;
  *)
    echo "usage: $0 run SCRIPT | guard" >&2
    exit 64
    ;;
esac
