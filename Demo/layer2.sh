# shellcheck shell=bash disable=SC2034,SC2154  # shares variables with the scripts that source it
# The devices' network itself, from the PC: frames without IP, devices that no address leads to, captures.

# The agent `cell` of site A is an interface; on the PC it is this device.
cell=l2-cell

# Devices without any IP address of use: PROFINET, EtherNet/IP and others, answered for by scapy; and one that sends
# frames of two types of its own back.
start_cell_devices() {
  start lan-devices device-a /usr/bin/python3 "$programs/lan_devices.py" lan
  start frames-b5 device-a "$python" "$programs/frames.py" answer lan 0x88b5
  start frames-b6 device-a "$python" "$programs/frames.py" answer lan 0x88b6
  eventually 20 grep -q listening "$state/log/lan-devices"
}

# permit_cell: site A gets the agent, in its file and in force.
permit_cell() {
  cat >>"$state/site-a.yaml" <<'END'
  - name: cell
    interface: lan
    ethernet: {types: [profinet, arp, "0x88b5"]}
    discovery: [dcp, lldp, arp]
    assignment: true
END
  briefly site-a "$bin/sitemanager" reload --directory "$state/site-a" &&
    lm disconnect site-a && connect_site site-a && eventually 10 cell_is_there
}

cell_is_there() { [ "$(at pc cat "/sys/class/net/$cell/carrier" 2>/dev/null)" = 1 ]; }

frames() { at pc "$python" "$programs/frames.py" "$@"; }

# A question to all devices of the cell, sent on the PC as raw frames and answered across the relay.
dcp_identify() {
  local answers
  answers=$(at pc timeout --foreground 30 /usr/bin/python3 "$programs/dcp_identify.py" "$cell") || { echo "$answers"; return 1; }
  echo "devices that answered on $cell: $(paste -s -d , <<<"$answers" | sed 's/,/, /g')"
  [ "$(wc -l <<<"$answers")" -eq 3 ] && grep -q '^plc-1 ' <<<"$answers"
}

frames_without_ip() {
  local answer
  answer=$(frames ask "$cell" 0x88b5 --first --size 1486) || { echo "$answer"; return 1; }
  echo "a frame of EtherType 0x88b5 with 1,486 bytes came back from ${answer##* }"
}

arping_device() {
  local seen
  # An address that leads nowhere: arping wants one to ask with.
  at pc ip address replace 192.168.10.99/32 dev "$cell" || return 1
  seen=$(at pc arping -I "$cell" -s 192.168.10.99 -c 1 -w 10 192.168.10.20) || { echo "$seen"; return 1; }
  grep -i 'reply from' <<<"$seen"
}

type_not_permitted() {
  local answer reason
  answer=$(frames ask "$cell" 0x88b6 --seconds 1) && { echo "answered: $answer"; return 1; }
  reason=$(lm status | grep -o 'refused from the PC: EtherType not permitted.*')
  echo "0x88b6 is not answered; status says \"$reason\""
  [ -n "$reason" ]
}

# found MAC: what `discover` says of a device.
found() { lm discover site-a/cell --methods dcp --seconds 2 | grep -F "$1"; }

wrong_address_is_mended() {
  local mac=00:01:05:00:00:03 before after
  before=$(found "$mac") || { echo "not found"; return 1; }
  lm assign site-a/cell "$mac" --ip 192.168.10.61/24 --gateway 192.168.10.1 || return 1
  after=$(found "$mac") || { echo "not found again"; return 1; }
  echo "$before"
  echo "$(awk '{print $1}' <<<"$before") had 10.20.30.40 (IP of another subnet) and has 192.168.10.61 now"
  grep -q '10\.20\.30\.40.*IP of another subnet' <<<"$before" && grep -q '192\.168\.10\.61' <<<"$after" &&
    ! grep -q 'another subnet' <<<"$after"
}

# The plaintext of one agent is seen while it passes, and another's isn't, though it passes at the same time.
live_capture() {
  local packets
  lm capture --agent site-a/web --seconds 4 --write - 2>"$state/log/lm-capture" |
    at pc timeout --foreground 30 tshark -l -n -r - -T fields -e ip.dst -e tcp.port -e text -e http.file_data \
      >"$state/seen-live" 2>"$state/log/tshark-live" &
  sleep 1.5
  if ! web_page site-a web 4 "web panel of site a" >/dev/null || ! modbus_poll >/dev/null; then
    echo "no traffic to capture"
    return 1
  fi
  wait "$!" || { cat "$state/log/lm-capture" "$state/log/tshark-live"; return 1; }
  packets=$(wc -l <"$state/seen-live")
  echo "tshark read $packets packets of agent web while they passed, its page among them, and none of agent plc"
  [ "$packets" -ge 6 ] && grep -q "web panel of site a" "$state/seen-live" && ! grep -q '\b502\b' "$state/seen-live" &&
    ! grep -v 'Running as user' "$state/log/tshark-live" | grep .
}
