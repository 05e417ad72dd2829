#!/usr/bin/env bash
# `make bench-openvpn`: iperf3 from the PC to a device of site A and back, in the same namespaces in the same run:
# without a tunnel (the kernel forwards), through RelayVPN, and through OpenVPN over TCP, hub and spoke as it is used
# for such sites: a server at the relay, the PC and the site's gateway as its clients, client to client.
# Prints a Markdown table of the medians. ROUNDS (3) and DURATION (5, seconds) may be set.
set -uo pipefail

here=$(dirname "${BASH_SOURCE[0]}")
# shellcheck source=Demo/common.sh
. "$here/common.sh"
# shellcheck source=Demo/devices.sh
. "$here/devices.sh"
# shellcheck source=Demo/hosts.sh
. "$here/hosts.sh"
# shellcheck source=Demo/steps.sh
. "$here/steps.sh"

rounds=${ROUNDS:-3}
duration=${DURATION:-5}
device=192.168.10.30

# A certificate authority and three certificates, ECDSA P-256, as RelayVPN's own.
make_certificates() {
  local name use home=$state/openvpn
  mkdir -p "$home/clients" && cd "$home" || return 1
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=ca \
    -keyout ca.key -out ca.crt 2>/dev/null || return 1
  for name in hub pc site-a; do
    use=clientAuth
    [ "$name" != hub ] || use=serverAuth
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$name" \
      -keyout "$name.key" -out "$name.csr" 2>/dev/null &&
      openssl x509 -req -in "$name.csr" -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -out "$name.crt" \
        -extfile <(printf 'keyUsage=digitalSignature\nextendedKeyUsage=%s\n' "$use") 2>/dev/null || return 1
  done
  cd "$root" || return 1
}

# openvpn_end NAME PART OPTION...: what both ends have in common. No kernel module (DCO): Debian 12 brings none.
openvpn_end() {
  local home=$state/openvpn
  start "openvpn-$1" "$2" openvpn --cd "$home" --dev tun --topology subnet --ca ca.crt --cert "$1.crt" --key "$1.key" \
    --data-ciphers AES-256-GCM --tcp-nodelay --disable-dco --verb 3 "${@:3}"
}

openvpn_up() {
  make_certificates || return 1
  # The site's gateway brings its LAN into the VPN; the hub hands packets from client to client.
  echo "iroute 192.168.10.0 255.255.255.0" >"$state/openvpn/clients/site-a"
  echo 'push "route 192.168.10.0 255.255.255.0"' >"$state/openvpn/clients/pc"
  openvpn_end hub relay --mode server --tls-server --proto tcp-server --port 1194 --dh none --client-to-client \
    --ifconfig 10.9.0.1 255.255.255.0 --ifconfig-pool 10.9.0.10 10.9.0.20 --push "topology subnet" \
    --push "route-gateway 10.9.0.1" --client-config-dir clients --keepalive 10 60
  eventually 10 grep -q 'Initialization Sequence Completed' "$state/log/openvpn-hub" || return 1
  local part
  for part in site-a pc; do
    openvpn_end "$part" "$part" --client --proto tcp-client --remote 203.0.113.1 1194 --nobind --remote-cert-tls server
  done
  eventually 20 probe "$device" 5201
}

# For what isn't a proxy, the site's gateway must forward and the devices need a way back. `forwarding off` undoes it.
forwarding() {
  if [ "$1" = on ]; then
    at site-a sysctl -qw net.ipv4.ip_forward=1 && at device-a ip route add default via 192.168.10.1
  else
    at site-a sysctl -qw net.ipv4.ip_forward=0 && at device-a ip route delete default
  fi
}

raw_up() {
  at pc ip route add 192.168.10.0/24 via 203.0.113.21 && eventually 5 probe "$device" 5201
}

# median FIGURE...
median() { printf '%s\n' "$@" | sort -n | awk '{ all[NR] = $1 } END { print all[int((NR + 1) / 2)] }'; }

# measure NAME ADDRESS: medians of both directions into the table, and every single figure on standard error.
measure() {
  local name=$1 address=$2 round figure upward=() downward=()
  for ((round = 0; round < rounds; round++)); do
    for direction in upward downward; do
      local -n figures=$direction
      local option=()
      [ "$direction" = upward ] || option=(--reverse)
      figure=$(at pc timeout --foreground $((duration + 30)) iperf3 --client "$address" --time "$duration" --omit 1 --json \
        "${option[@]}" | iperf3_figure) || { echo "$name: $figure" >&2; return 1; }
      figures+=("$figure")
    done
  done
  echo "$name, Mbit/s: to the device ${upward[*]}; from the device ${downward[*]}" >&2
  table+=("$name|$(median "${upward[@]}")|$(median "${downward[@]}")")
}

# print_table: each path with its medians and how many times OpenVPN's they are.
print_table() {
  local version
  version=$(openvpn --version | awk 'NR == 1 { print $2 }')
  printf '\nMedian of %d runs of %d s, one TCP connection, Mbit/s. OpenVPN %s over TCP, AES-256-GCM; Linux %s, %d CPUs.\n' \
    "$rounds" "$duration" "$version" "$(uname -r)" "$(nproc)"
  printf '\n| path | to the device | from the device |\n|---|---:|---:|\n'
  printf '%s\n' "${table[@]}" | awk -F '|' '
    { name[NR] = $1; up[NR] = $2; down[NR] = $3; if ($1 ~ /^OpenVPN/) { u = $2; d = $3 } }
    END {
      for (i = 1; i <= NR; i++) {
        if (u > 0 && d > 0) printf "| %s | %s (%.1fx) | %s (%.1fx) |\n", name[i], up[i], up[i] / u, down[i], down[i] / d
        else printf "| %s | %s | %s |\n", name[i], up[i], down[i]
      }
    }'
}

require_privileges bench-openvpn
build_hosts || exit 1
begin_run

# No CPU sleep states while measuring: waking from them is a cost of the machine, not of the paths. Held until exit.
if [ -w /dev/cpu_dma_latency ]; then
  exec {latency}>/dev/cpu_dma_latency
  printf '\0\0\0\0' >&"$latency"
fi

marker=RVPLAIN-bench
password=Bench-$(od -An -N12 -tx1 /dev/urandom | tr -d ' \n')
table=()
broken=0
topology_up "$prefix" && start_devices a && start_devices b || exit 1

if ! { forwarding on && raw_up && measure "no tunnel" "$device"; }; then
  broken=1
fi
at pc ip route delete 192.168.10.0/24 via 203.0.113.21
forwarding off

if ! { start_hosts && measure "RelayVPN" "$(alias_of site-a server)"; }; then
  broken=1
fi

if ! { forwarding on && openvpn_up && measure "OpenVPN" "$device"; }; then
  broken=1
  tail -n 8 "$state/log/"openvpn-*
fi
print_table
exit "$broken"
