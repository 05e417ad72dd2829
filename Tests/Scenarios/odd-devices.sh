# shellcheck shell=bash disable=SC2034,SC2154  # shares variables with the scripts that source it
# Devices that are odd, and how to reach them.

scenario_programs=$root/Tests/Scenarios/programs

# start_odd_devices SECONDS: the devices of odd_device.py on 192.168.10.10, ports 9000 and up, where the deaf one reads
# after so many seconds, and echoes of datagrams on both families; with agents for them, connected.
start_odd_devices() {
  start odd device-a "$python" "$scenario_programs/odd_device.py" 192.168.10.10 9000 "$1"
  start echo4 device-a "$python" "$scenario_programs/datagrams.py" echo 192.168.10.10 9000
  start echo6 device-a "$python" "$scenario_programs/datagrams.py" echo fd00:10::10 9000
  cat >>"$state/site-a.yaml" <<'END'
  - name: odd
    device: 192.168.10.10
    tcp: [9000-9010]
    udp: [9000]
  - name: odd6
    device: fd00:10::10
    udp: [9000]
END
  briefly site-a "$bin/sitemanager" reload --directory "$state/site-a" || return 1
  lm disconnect site-a && connect_once site-a || return 1
  local log
  for log in odd echo4 echo6; do eventually 10 grep -q listening "$state/log/$log" || return 1; done
}

# client VERB PORT WORD: device_client.py at the odd device.
client() { at pc "$python" "$scenario_programs/device_client.py" "$1" "$(alias_of site-a odd)" "$2" "$3"; }

# datagrams VERB FAMILY WORD...: datagrams.py at the odd device, by the alias of that family.
datagrams() {
  at pc "$python" "$scenario_programs/datagrams.py" "$1" "$(alias_of site-a "odd${2/4/}" "$2")" 9000 "${@:3}"
}

# flows_are_gone PORT: neither the site nor LinkManager holds anything for the device's port.
flows_are_gone() {
  [ -z "$(at site-a ss -Htn state connected exclude time-wait dport = ":$1")" ] &&
    lm status --json | "$python" -c 'import json, sys; sys.exit(json.load(sys.stdin)["tcpFlows"] > 0)'
}
