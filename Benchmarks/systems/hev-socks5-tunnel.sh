# shellcheck shell=bash disable=SC2034,SC2154  # sourced by system.sh
# The best composition off the shelf with a TUN: hev-socks5-tunnel at the PC, in front of stunnel, HAProxy and stunnel as
# in stunnel-haproxy.sh, and at the site microsocks, a SOCKS5 server for TCP. BENCH_HEV_SOCKS5_TUNNEL names the binary.

# shellcheck source=Benchmarks/systems/stunnel-haproxy.sh
. "$root/Benchmarks/systems/stunnel-haproxy.sh"

system_version() {
  echo "hev-socks5-tunnel $("$BENCH_HEV_SOCKS5_TUNNEL" --version 2>&1 | awk '/^Version/ { print $2 }')"
}

system_start() {
  start microsocks site-a microsocks -i 127.0.0.1 -p 1080
  forward_up 127.0.0.1 1080 || return 1
  cat >"$state/hev.yml" <<END
tunnel: { name: hev, mtu: 8500, ipv4: 10.9.0.10 }
socks5: { address: 127.0.0.1, port: 1080 }
misc: { limit-nofile: $(ulimit -n), log-level: warn }
END
  eventually 10 at pc "$python" "$programs/probe.py" 127.0.0.1 1080 || return 1
  start hev pc "$BENCH_HEV_SOCKS5_TUNNEL" "$state/hev.yml"
  eventually 10 at pc ip route add 192.168.10.0/24 dev hev || return 1
  target=$device
  reachable "$target"
}
