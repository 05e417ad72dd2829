# shellcheck shell=bash disable=SC2034,SC2154  # sourced by system.sh
# This product's Layer 2: the PC's TAP device stands for the site's LAN, and the PC speaks IP to the device over it.

# shellcheck source=Benchmarks/systems/relayvpn.sh
. "$root/Benchmarks/systems/relayvpn.sh"

write_agents() {
  cat >"$1" <<END
agents:
  - name: server
    device: $device
    tcp: [$(IFS=,; echo "${tcp_ports[*]}")]
  - name: cell
    interface: lan
    ethernet:
      types: [arp, ipv4]
      network: 192.168.10.0/24
      tcp: [$(IFS=,; echo "${tcp_ports[*]}")]
      udp: [7003]
END
}

system_start() {
  marker=benchmark
  password=Bench-$(od -An -N12 -tx1 /dev/urandom | tr -d ' \n')
  start_gate && start_site a && start_link && connect_site site-a || return 1
  eventually 10 at pc grep -qx 1 /sys/class/net/l2-cell/carrier &&
    at pc ip address add 192.168.10.199/24 dev l2-cell || return 1
  target=$device
  reachable "$target"
}
