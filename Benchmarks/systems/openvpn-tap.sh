# shellcheck shell=bash disable=SC2034,SC2154  # sourced by system.sh
# OpenVPN over TCP in its tap mode: Ethernet from client to client, bridged with the devices' LAN at the site.

# shellcheck source=Benchmarks/systems/openvpn.sh
. "$root/Benchmarks/systems/openvpn.sh"

system_start() {
  local home=$state/openvpn part
  openvpn_device=(--dev tap0 --dev-type tap)
  authority "$home" hub:serverAuth pc:clientAuth site-a:clientAuth || return 1
  openvpn_end hub relay --mode server --tls-server --proto tcp-server --port 1194 --dh none --client-to-client \
    --keepalive 10 60 --tcp-nodelay
  # While the hub's own device is down, it holds up what is for the clients.
  eventually 10 grep -q 'Initialization Sequence Completed' "$state/log/openvpn-hub" && at relay ip link set tap0 up ||
    return 1
  for part in site-a pc; do
    openvpn_end "$part" "$part" --client --proto tcp-client --remote 203.0.113.1 1194 --nobind \
      --remote-cert-tls server --tcp-nodelay
    eventually 10 grep -q 'Initialization Sequence Completed' "$state/log/openvpn-$part" || return 1
  done
  at site-a ip link add bridge type bridge && at site-a ip link set lan master bridge &&
    at site-a ip link set tap0 master bridge && at site-a ip link set tap0 up && at site-a ip link set bridge up &&
    at pc ip address add 192.168.10.199/24 dev tap0 && at pc ip link set tap0 up || return 1
  target=$device
  reachable "$target"
}
