# shellcheck shell=bash disable=SC2154  # sourced by system.sh
# OpenVPN over TCP. Without tcp-nodelay, Nagle's algorithm would hold back what it forwards.

# shellcheck source=Benchmarks/systems/openvpn.sh
. "$root/Benchmarks/systems/openvpn.sh"

system_start() { openvpn_start tcp-server tcp-client --tcp-nodelay; }
