# shellcheck shell=bash disable=SC2034,SC2154  # sourced by system.sh
# This product while somebody captures all that passes between the PC and the device, beside the LinkManager's data path.
# BENCH_CAPTURE_SNAP: bytes kept of each packet, 128 without it; 262144 for whole packets.

# shellcheck source=Benchmarks/systems/relayvpn.sh
. "$root/Benchmarks/systems/relayvpn.sh"

system_start() {
  marker=benchmark
  password=Bench-$(od -An -N12 -tx1 /dev/urandom | tr -d ' \n')
  start_gate && start_site a && start_link && connect_site site-a || return 1
  start capture pc "$bin/linkmanager" capture --directory "$state/linkmanager" --snap "${BENCH_CAPTURE_SNAP:-128}" \
    --write "$state/captured.pcapng" --ring-size 64 --ring-files 2
  eventually 10 grep -q 'capture begins' "$state/log/linkmanager" || return 1
  target=$(alias_of site-a server)
  reachable "$target"
}
