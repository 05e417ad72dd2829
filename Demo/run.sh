#!/usr/bin/env bash
# `make demo`: the whole system with real programs, in network namespaces that are gone afterwards.
# HOLD=1 keeps it up after the steps. Exit status: 0 if every step passed, 1 if not, 2 if it can't run here.
set -uo pipefail

here=$(dirname "${BASH_SOURCE[0]}")
# shellcheck source=Demo/common.sh
. "$here/common.sh"
# shellcheck source=Demo/devices.sh
. "$here/devices.sh"
# shellcheck source=Demo/hosts.sh
. "$here/hosts.sh"
# shellcheck source=Demo/steps.sh
. "$here/steps.sh"
# shellcheck source=Demo/layer2.sh
. "$here/layer2.sh"

require_privileges demo
build_hosts || exit 1
begin_run

# 16 bytes that go through the tunnel in every step's payload and must not be seen outside. The password, too.
marker=RVPLAIN-$(od -An -N4 -tx4 /dev/urandom | tr -d ' ')
password=Demo-$(od -An -N12 -tx1 /dev/urandom | tr -d ' \n')
head -c 200000000 /dev/urandom >"$state/bulk"
bulk_sum=$(sha256sum <"$state/bulk" | cut -d ' ' -f 1)

# At the relay, every packet of its public side from the first one on, to at most 64 MB: that includes the beginning
# of the first bulk transfer. The buffer is larger than the file, so that the kernel has no reason to drop any.
start_capture() {
  at relay tcpdump -i public -n -s 0 -U -B 131072 -w - 2>"$state/log/tcpdump" | head -c 64000000 >"$state/capture" &
  eventually 10 grep -q 'listening on' "$state/log/tcpdump"
}

end_capture() {
  local pids
  mapfile -t pids < <(ip netns pids "$prefix-relay" | while read -r pid; do
    [ "$(cat "/proc/$pid/comm" 2>/dev/null)" != tcpdump ] || echo "$pid"
  done)
  [ "${#pids[@]}" -eq 0 ] || kill -INT "${pids[@]}" 2>/dev/null
  sleep 0.5
}

hold() {
  local web_a web_b
  web_a=$(alias_of site-a web) web_b=$(alias_of site-b web)
  cat <<END

It stays up until Ctrl-C. Things to try, each in another terminal, as root:
  ip netns exec $prefix-pc curl http://$web_a/          the panel of site A
  ip netns exec $prefix-pc curl http://$web_b/          the same device address, at site B
  ip netns exec $prefix-pc ping $web_a
  ip netns exec $prefix-pc ssh -F none -i $state/ssh_key -o HostKeyAlias=device-a \\
    -o UserKnownHostsFile=$state/ssh_known_hosts root@$(alias_of site-a server)
  ip netns exec $prefix-pc iperf3 -c $(alias_of site-a server)
  ip netns exec $prefix-pc $bin/linkmanager explain $web_a:8080 --directory $state/linkmanager
  ip netns exec $prefix-pc $bin/linkmanager status --directory $state/linkmanager
  ip netns exec $prefix-relay tcpdump -n -X -i public port 443
  the logs: $state/log/
END
  # Being told to end is no failure now. In the background, so that the signal is acted on at once.
  trap 'exit $((failed > 0))' INT TERM HUP
  sleep infinity &
  running=$!
  wait "$running"
}

topology_up "$prefix" || exit 1
start_devices a || exit 1
start_devices b || exit 1
step "the PC can't reach a device without the tunnel" unreachable_without_tunnel
start_capture || exit 1
if start_hosts; then
  step "web panel, site A" web_page site-a web 4 "web panel of site a"
  step "web panel, site B, same device address" web_page site-b web 4 "web panel of site b"
  step "Modbus/TCP" modbus_poll
  step "ssh, interactive" ssh_session
  step "DNS over UDP, site A" dns_query site-a a
  step "DNS over UDP, site B" dns_query site-b b
  step "ping" ping_agent site-a web 4
  step "IPv6 web" web_page site-a camera6 6 "camera of site a"
  step "IPv6 ping" ping_agent site-b camera6 6
  step "a port that no agent permits" port_not_permitted
  step "a device that no agent names" address_not_named
  step "an alias that no agent has" alias_not_given
  step "a refused port on a permitted device" port_refused
  step "linkmanager status" link_status
  step "download of 200 MB" download
  end_capture
  step "upload of 200 MB" upload
  step "iperf3 to the device" throughput
  step "iperf3 from the device" throughput --reverse
  step "capture at the relay: nothing readable, only TLS records" capture_is_sealed
  if start_cell_devices && permit_cell; then
    step "PROFINET: DCP Identify on the PC, answered by the cell" dcp_identify
    step "a protocol without IP" frames_without_ip
    step "arping" arping_device
    step "an EtherType that no agent permits" type_not_permitted
    step "a device with a wrong address is found and given a right one" wrong_address_is_mended
    step "live capture of one agent, read by tshark" live_capture
  else
    step "an agent for the devices' network itself" false
  fi
  if [ -z "${HOLD-}" ]; then
    step "disconnecting one site" disconnected
    step "a rule that is switched off" rule_revoked
    step "a reason is asked for, and the end of a time slot cuts what is open" slot_ends
    step "an agent that is switched off on site" switched_off_on_site
    step "audit" audit_is_whole
  fi
else
  end_capture
  step "the hosts start and connect" false
fi
[ "$failed" -eq 0 ] || [ "$passed" -le 1 ] || { echo "The ends of the logs:" && show_logs; }
printf 'demo: %d passed, %d failed\n' "$passed" "$failed"
[ -z "${HOLD-}" ] || hold
[ "$failed" -eq 0 ]
