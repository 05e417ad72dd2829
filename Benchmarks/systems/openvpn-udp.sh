# shellcheck shell=bash disable=SC2154  # sourced by system.sh
# OpenVPN over UDP, where the networks on the way let it.

# shellcheck source=Benchmarks/systems/openvpn.sh
. "$root/Benchmarks/systems/openvpn.sh"

system_start() { openvpn_start udp udp --explicit-exit-notify 0; }
