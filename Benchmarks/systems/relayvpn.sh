# shellcheck shell=bash disable=SC2034,SC2154  # sourced by system.sh
# This product: the three hosts as they are deployed, set up as in the demonstration, with the defaults of all options.

# shellcheck source=Demo/hosts.sh
. "$root/Demo/hosts.sh"

system_version() { echo "RelayVPN $("$bin/linkmanager" --version)"; }

write_agents() {
  cat >"$1" <<END
agents:
  - name: server
    device: $device
    tcp: [$(IFS=,; echo "${tcp_ports[*]}")]
    udp: [7003]
END
}

system_start() {
  marker=benchmark
  password=Bench-$(od -An -N12 -tx1 /dev/urandom | tr -d ' \n')
  start_gate && start_site a && start_link && connect_site site-a || return 1
  target=$(alias_of site-a server)
  reachable "$target"
}
