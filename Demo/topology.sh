#!/usr/bin/env bash
# The network that the demonstration, the comparison and the scenario tests run in.
#
#   PREFIX-pc        203.0.113.10   the technician's PC
#   PREFIX-relay     203.0.113.1    the public network (a bridge) and the GateManager on it
#   PREFIX-site-a    203.0.113.21   SiteManager of site A, 192.168.10.1 and fd00:10::1 on its LAN
#   PREFIX-site-b    203.0.113.22   SiteManager of site B, the same addresses on its LAN
#   PREFIX-device-a  192.168.10.10, .20, .30, .40 and fd00:10::10: the devices of site A
#   PREFIX-device-b  the same addresses: the devices of site B
#
# No namespace forwards, and devices have no route off their LAN: what reaches them came through a SiteManager.
#
# Sourced, it defines topology_up, topology_down and topology_clean_processes; run, it does the first two:
#   Demo/topology.sh up|down PREFIX

topology_parts=(pc relay site-a site-b device-a device-b)
declare -gA topology_sites=([a]=203.0.113.21 [b]=203.0.113.22)

# topology_up PREFIX [LETTER...]: builds the namespaces, with both sites or only those that are named; what is left of
# an earlier run goes first.
topology_up() {
  local prefix=$1 letter part
  shift
  [ "$#" -gt 0 ] || set -- a b
  topology_down "$prefix"
  for part in pc relay "${@/#/site-}" "${@/#/device-}"; do
    topology_namespace "$prefix-$part" || return 1
  done
  ip -n "$prefix-relay" link add public type bridge forward_delay 0 &&
    ip -n "$prefix-relay" address add 203.0.113.1/24 dev public &&
    ip -n "$prefix-relay" link set public up &&
    topology_attach "$prefix" pc 203.0.113.10 || return 1
  for letter in "$@"; do
    topology_site "$prefix" "$letter" "${topology_sites[$letter]}" || return 1
  done
}

# topology_down PREFIX: ends every process in the namespaces and removes them. Safe to repeat.
topology_down() {
  local prefix=$1 part
  topology_clean_processes "$prefix"
  for part in "${topology_parts[@]}"; do
    [ ! -e "/run/netns/$prefix-$part" ] || ip netns delete "$prefix-$part"
  done
}

# topology_clean_processes PREFIX: TERM, up to three seconds of patience, then KILL, for all in the namespaces.
topology_clean_processes() {
  local prefix=$1 round pids
  for round in {0..30}; do
    mapfile -t pids < <(topology_processes "$prefix")
    [ "${#pids[@]}" -gt 0 ] || return 0
    case $round in
      0) kill -TERM "${pids[@]}" 2>/dev/null ;;
      30) kill -KILL "${pids[@]}" 2>/dev/null ;;
    esac
    sleep 0.1
  done
}

topology_processes() {
  local part
  for part in "${topology_parts[@]}"; do
    [ ! -e "/run/netns/$1-$part" ] || ip netns pids "$1-$part"
  done
}

# topology_namespace NAME: a namespace with its loopback up, forwarding off and a congestion control that is
# the same everywhere, so that figures don't depend on the host's choice.
topology_namespace() {
  ip netns add "$1" &&
    ip -n "$1" link set lo up &&
    ip netns exec "$1" sysctl -qw net.ipv4.ip_forward=0 net.ipv6.conf.all.forwarding=0 \
      net.ipv4.tcp_congestion_control=reno
}

# topology_attach PREFIX PART ADDRESS: a link from the part to the public network.
topology_attach() {
  ip link add wan netns "$1-$2" type veth peer name "$2" netns "$1-relay" &&
    ip -n "$1-$2" address add "$3/24" dev wan &&
    ip -n "$1-$2" link set wan up &&
    ip -n "$1-relay" link set "$2" master public up
}

# topology_site PREFIX LETTER WAN-ADDRESS: the SiteManager's namespace, and behind it the LAN with its devices.
topology_site() {
  local site=$1-site-$2 devices=$1-device-$2 address
  topology_attach "$1" "site-$2" "$3" &&
    ip link add lan netns "$site" type veth peer name lan netns "$devices" &&
    ip -n "$site" address add 192.168.10.1/24 dev lan &&
    ip -n "$site" address add fd00:10::1/64 dev lan nodad &&
    ip -n "$site" link set lan up || return 1
  for address in 10 20 30 40; do
    ip -n "$devices" address add "192.168.10.$address/24" dev lan || return 1
  done
  ip -n "$devices" address add fd00:10::10/64 dev lan nodad &&
    ip -n "$devices" link set lan up
}

if [ "${BASH_SOURCE[0]}" = "$0" ]; then
  case ${1-}:${2-} in
    up:?*) topology_up "$2" || { topology_down "$2"; exit 1; } ;;
    down:?*) topology_down "$2" ;;
    *)
      echo "usage: $0 up|down PREFIX" >&2
      exit 64
      ;;
  esac
fi
