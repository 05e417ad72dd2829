# shellcheck shell=bash disable=SC2034,SC2154  # sourced by system.sh
# This product's three hosts as they are when they have just started: no session, and not a flow yet.

# shellcheck source=Benchmarks/systems/relayvpn.sh
. "$root/Benchmarks/systems/relayvpn.sh"

# By its log, since whoever is asked has more memory afterwards.
site_is_online() {
  grep -q 'site online' "$state/log/gatemanager"
}

system_start() {
  password=Bench-$(od -An -N12 -tx1 /dev/urandom | tr -d ' \n')
  start_gate && start_site a && start_link && eventually 20 site_is_online || return 1
  target=none
}
