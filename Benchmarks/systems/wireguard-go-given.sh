# shellcheck shell=bash disable=SC2034,SC2154  # sourced by system.sh
# Another build of wireguard-go: the one that BENCH_WIREGUARD_GO names.

# shellcheck source=Benchmarks/systems/wireguard-go.sh
. "$root/Benchmarks/systems/wireguard-go.sh"
wireguard=$BENCH_WIREGUARD_GO
