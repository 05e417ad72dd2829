# shellcheck shell=bash disable=SC2034,SC2154  # sourced by system.sh
# WireGuard in user space, hub and spoke: the relay is the hub and routes between the PC and the site. ChaCha20-Poly1305,
# hop by hop: the relay can read everything. BENCH_WIREGUARD_GO names a binary for wireguard-go-given.sh.

wireguard="wireguard-go"

system_version() { "$wireguard" --version 2>&1 | awk 'NR == 1 { print $1, $2 }'; }

# wireguard_end PART ADDRESS: the device, its key and its address. Names are the machine's, as the control sockets are.
wireguard_end() {
  local link=${prefix: -8}-${1%%-*}
  start "wireguard-$1" "$1" env WG_PROCESS_FOREGROUND=1 "$wireguard" -f "$link"
  eventually 5 at "$1" ip link show "$link" &&
    eventually 5 at "$1" wg set "$link" private-key "$state/wireguard/$1" listen-port 51820 &&
    at "$1" ip address add "$2" dev "$link" &&
    at "$1" ip link set "$link" mtu 1420 up
}

# wireguard_peer PART PEER OPTION...
wireguard_peer() {
  at "$1" wg set "${prefix: -8}-${1%%-*}" peer "$(wg pubkey <"$state/wireguard/$2")" "${@:3}"
}

system_start() {
  local part
  mkdir -p "$state/wireguard" && site_forwards && at relay sysctl -qw net.ipv4.ip_forward=1 || return 1
  for part in pc relay site-a; do
    (umask 077 && wg genkey >"$state/wireguard/$part")
  done
  wireguard_end relay 10.9.0.1/24 && wireguard_end pc 10.9.0.10/24 && wireguard_end site-a 10.9.0.11/24 &&
    wireguard_peer relay pc allowed-ips 10.9.0.10/32 &&
    wireguard_peer relay site-a allowed-ips 10.9.0.11/32,192.168.10.0/24 &&
    wireguard_peer pc relay endpoint 203.0.113.1:51820 allowed-ips 10.9.0.0/24,192.168.10.0/24 \
      persistent-keepalive 25 &&
    wireguard_peer site-a relay endpoint 203.0.113.1:51820 allowed-ips 10.9.0.0/24 persistent-keepalive 25 &&
    at pc ip route add 192.168.10.0/24 via 10.9.0.1 &&
    at relay ip route add 192.168.10.0/24 dev "${prefix: -8}-relay" || return 1
  target=$device
  reachable "$target"
}
