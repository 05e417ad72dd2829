# shellcheck shell=bash disable=SC2034,SC2154  # sourced by system.sh
# No tunnel: the kernel routes at the relay and at the site. The bound for all others, and readable for everyone.

system_version() { echo "Linux $(uname -r)"; }

system_start() {
  site_forwards &&
    at relay sysctl -qw net.ipv4.ip_forward=1 &&
    at pc ip route add 192.168.10.0/24 via 203.0.113.1 &&
    at relay ip route add 192.168.10.0/24 via 203.0.113.21 &&
    at site-a ip route add 203.0.113.10 via 203.0.113.1 || return 1
  target=$device
  reachable "$target"
}
