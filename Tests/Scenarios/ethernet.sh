# shellcheck shell=bash disable=SC2154  # sourced by a test's script, after world.sh
# A Layer 2 agent between the PC and the devices' network of site A: `lan` there, `l2-cell` on the PC.

tap=l2-cell

frames() { "$python" "$root/Demo/programs/frames.py" "$@"; }
# The same, compiled, for many frames; with the Swift toolchain's compiler.
many() { "$state/frames" "$@"; }
compile_frames() { clang -O2 -o "$state/frames" "$root/Tests/Scenarios/programs/frames.c"; }

# permit YAML: site A has an agent with this rule, from its next start or reload on.
permit() {
  write_agents "$state/site-a.yaml"
  printf '  - name: cell\n    interface: lan\n    ethernet: %s\n' "$1" >>"$state/site-a.yaml"
}

# start_cell YAML: all hosts, site A with such an agent, and the PC with its device.
start_cell() {
  start_gate && start_site a && permit "$1" && eventually 10 reload_site && start_link && connect_site site-a && eventually 10 carries
}

reload_site() { briefly site-a "$bin/sitemanager" reload --directory "$state/site-a"; }

carries() { [ "$(at pc cat /sys/class/net/$tap/carrier 2>/dev/null)" = 1 ]; }
grep_status() { lm status | grep -q "$1"; }
carries_not() { ! carries; }

mac_of() { at "$1" cat "/sys/class/net/$2/address"; }
device_mac() { mac_of device-a lan; }
tap_mac() { mac_of pc $tap; }

# answering ETHERTYPE: from now on the device sends such frames back.
answering() {
  ip netns exec "$prefix-device-a" setsid "$python" "$root/Demo/programs/frames.py" answer lan "$1" \
    >"$state/log/answer-$1" 2>&1 </dev/null &
  echo $! >"$state/answering"
  eventually 10 grep -q ready "$state/log/answer-$1"
}

answering_no_more() { kill "$(cat "$state/answering")"; }

# ask ARGUMENT...: from the PC.
ask() { at pc "$python" "$root/Demo/programs/frames.py" ask $tap "$@"; }
# tell ARGUMENT...: from the device.
tell() { at device-a "$python" "$root/Demo/programs/frames.py" ask lan "$@" --seconds 0.1; }

# flood FROM-PART FROM-DEVICE TO-PART TO-DEVICE COUNT SIZE RATE: what the receiver says.
flood() {
  local to receiver
  to=$(mac_of "$3" "$4")
  at "$3" "$state/frames" receive "$4" 0x88b5 "$5" 5 >"$state/flood" &
  receiver=$!
  eventually 5 grep -q ready "$state/flood"
  at "$1" "$state/frames" send "$2" "$to" 0x88b5 "$5" "$6" "$7"
  wait "$receiver"
  cat "$state/flood"
}
