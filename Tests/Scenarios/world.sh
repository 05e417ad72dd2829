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

case ${1-} in
  run) eval "$2" ;;
  guard)
    trap '' INT TERM HUP
    cat >/dev/null
    topology_down "$prefix"
    rm -rf "$state"
    ;;
  *)
    echo "usage: $0 run SCRIPT | guard" >&2
    exit 64
    ;;
esac
