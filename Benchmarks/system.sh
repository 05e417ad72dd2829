#!/usr/bin/env bash
# One system in namespaces of its own: PC, relay, site and device, joined by veth with the kernel's default offloads.
#
#   system.sh up NAME        builds the network and starts the device's servers
#   system.sh start NAME     starts the system in it; prints the address at which the PC reaches the device's ports
#   system.sh version NAME   what was measured
#   system.sh stop           ends all processes and removes the network
#
# Each file in systems/ defines `system_version` and `system_start`; the latter sets `target`. What it starts runs in the
# namespaces pc, relay and site-a, where its CPU time and memory are read from. BENCH_STATE is a directory for it.
set -uo pipefail

here=$(dirname "${BASH_SOURCE[0]}")
# shellcheck source=Demo/common.sh
. "$here/../Demo/common.sh"

state=${BENCH_STATE-}
bin=${RELAYVPN_BIN-}
device=192.168.10.30
# What a forwarder must name one by one: iperf3, and the servers of programs/device.c and programs/files.py.
tcp_ports=(5201 7001 7002 7004)

# PC and site can talk to the relay only, as behind two firewalls: what finds a direct way would not be measured as
# a relay. The relay itself routes, where a system asks for it.
network_up() {
  topology_up "$prefix" a || return 1
  local part
  for part in pc site-a; do
    at relay bridge link set dev "$part" isolated on || return 1
  done
  at relay sysctl -qw net.ipv4.conf.all.send_redirects=0 net.ipv4.conf.public.send_redirects=0
  for part in pc relay site-a device-a; do
    # Enough ports for as many connections a second as there may be.
    at "$part" sysctl -qw net.ipv4.ip_local_port_range="10000 65000" || return 1
  done
  [ "${BENCH_OFFLOADS:-on}" = on ] || offloads_off
}

# Every packet on the wire is one MTU then.
offloads_off() {
  local part link
  for part in pc relay site-a device-a; do
    for link in $(at "$part" ip -o link show type veth | awk -F '[ :@]+' '{ print $2 }'); do
      at "$part" ethtool -K "$link" tso off gso off gro off tx-udp-segmentation off >/dev/null 2>&1
    done
  done
  at relay ethtool -K public tso off gso off gro off >/dev/null 2>&1
}

# The load's servers. They are no part of what is measured.
servers_up() {
  start device device-a "$BENCH_PROGRAMS/device" "$device"
  start files device-a "$python" "$root/Benchmarks/programs/files.py" serve "$device" 7004
  start iperf3 device-a iperf3 --server --bind "$device"
  local port
  for port in "${tcp_ports[@]}"; do
    eventually 10 at site-a "$python" "$programs/probe.py" "$device" "$port" || return 1
  done
}

# For what isn't a proxy: the site's gateway forwards, and the device has a way back.
site_forwards() {
  at site-a sysctl -qw net.ipv4.ip_forward=1 && at device-a ip route add default via 192.168.10.1
}

# reachable ADDRESS: the device answers the PC there, and the ports of the servers that can't be asked are open.
reachable() {
  local port
  eventually 20 at pc "$python" "$root/Benchmarks/programs/answers.py" "$1" 7001 || return 1
  for port in "${tcp_ports[@]}"; do
    eventually 20 at pc "$python" "$programs/probe.py" "$1" "$port" 2 || return 1
  done
}

# authority HOME NAME:USE...: a certificate authority and certificates by it, ECDSA P-256 as RelayVPN's own.
authority() {
  local home=$1 entry name use
  mkdir -p "$home" && cd "$home" || return 1
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=ca \
    -keyout ca.key -out ca.crt 2>/dev/null || return 1
  for entry in "${@:2}"; do
    name=${entry%:*} use=${entry#*:}
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$name" \
      -keyout "$name.key" -out "$name.csr" 2>/dev/null &&
      openssl x509 -req -in "$name.csr" -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -out "$name.crt" \
        -extfile <(printf 'keyUsage=digitalSignature\nextendedKeyUsage=%s\n' "$use") 2>/dev/null || return 1
  done
  cd "$root" || return 1
}

verb=${1-} name=${2-}
case $verb in
  stop)
    topology_down "$prefix"
    exit
    ;;
  up | start | version)
    [ -f "$root/Benchmarks/systems/$name.sh" ] || { echo "there is no system $name" >&2; exit 64; }
    # shellcheck source=/dev/null
    . "$root/Benchmarks/systems/$name.sh"
    ;;
  *)
    echo "usage: $0 up|start|version NAME | stop" >&2
    exit 64
    ;;
esac
case $verb in
  version) system_version ;;
  up) mkdir -p "$state/log" && network_up && servers_up ;;
  start)
    target=
    if ! system_start; then
      tail -n 6 "$state"/log/* >&2
      echo "$name did not start; above are the ends of its logs" >&2
      exit 1
    fi
    echo "$target"
    ;;
esac
