# shellcheck shell=bash disable=SC2034,SC2154  # shares variables with the scripts that source it
# The steps of the demonstration. A step is a function that prints what it saw and succeeds only if that was right.

passed=0
failed=0

# step TITLE COMMAND...: runs it and prints one line; of a failure all that it said, indented below.
step() {
  local title=$1 seen status=0
  shift
  # In the background and waited for, as bash acts on a signal only between foreground commands.
  "$@" >"$state/seen" 2>&1 &
  running=$!
  wait "$running" || status=$?
  running=
  seen=$(<"$state/seen")
  if [ "$status" -eq 0 ]; then
    passed=$((passed + 1))
    printf 'ok      %s: %s\n' "$title" "$(tail -n 1 <<<"$seen")"
  else
    failed=$((failed + 1))
    printf 'FAILED  %s: %s\n' "$title" "$(tail -n 1 <<<"$seen")"
    head -n -1 <<<"$seen" | tail -n 12 | sed 's/^/          /'
  fi
}

# url ADDRESS [PORT/PATH]
url() {
  local host=$1
  [[ $host != *:* ]] || host="[$host]"
  echo "http://$host${2:+:$2}"
}

probe() { at pc "$python" "$programs/probe.py" "$@"; }

# Even with a route set by hand, nothing between the PC and the devices forwards.
unreachable_without_tunnel() {
  local by_route without connected=0
  without=$(probe 192.168.10.10 80 2) && connected=1
  at pc ip route add 192.168.10.0/24 via 203.0.113.21 || return 1
  by_route=$(probe 192.168.10.10 80 2) && connected=1
  at pc ip route delete 192.168.10.0/24 via 203.0.113.21
  echo "192.168.10.10 is $without; by a route through site A's gateway $by_route"
  [ "$connected" -eq 0 ]
}

# web_page SITE AGENT FAMILY TEXT: the page at the agent's alias is the one of this very site.
web_page() {
  local address body
  address=$(alias_of "$1" "$2" "$3")
  [ -n "$address" ] || { echo "$1 has no IPv$3 alias for $2"; return 1; }
  body=$(at pc curl --silent --show-error --max-time 10 --noproxy '*' "$(url "$address")") || { echo "$body"; return 1; }
  echo "$(url "$address") answers \"${body% "$marker"}\" (${#body} bytes)"
  [ "$body" = "$4 $marker" ]
}

modbus_poll() {
  at pc timeout --foreground 60 "$python" "$programs/modbus_poll.py" "$(alias_of site-a plc)" 502 "$marker"
}

ssh_session() {
  at pc timeout --foreground 60 "$python" "$programs/typed_session.py" 10 "$marker" -- \
    ssh -F none -tt -i "$state/ssh_key" -o BatchMode=yes -o StrictHostKeyChecking=yes -o HostKeyAlias=device-a \
    -o GlobalKnownHostsFile=none -o UserKnownHostsFile="$state/ssh_known_hosts" -o ConnectTimeout=10 \
    "root@$(alias_of site-a server)"
}

# dns_query SITE LETTER: both sites have a server at the same address, with different answers.
dns_query() {
  local address note name
  address=$(alias_of "$1" server)
  note=$(at pc dig +notcp +time=3 +tries=1 +short "@$address" TXT note.plant.example) || { echo "$note"; return 1; }
  name=$(at pc dig +notcp +time=3 +tries=1 +short "@$address" A pump.plant.example) || { echo "$name"; return 1; }
  echo "$address over UDP: pump.plant.example is $name, note.plant.example is ${note/ $marker/}"
  [ "$note" = "\"site-$2 $marker\"" ] && [ "$name" = 192.0.2.77 ]
}

# ping_agent SITE AGENT FAMILY: five echoes that carry the marker, all of them answered with the same bytes.
ping_agent() {
  local address seen
  address=$(alias_of "$1" "$2" "$3")
  [ -n "$address" ] || { echo "$1 has no IPv$3 alias for $2"; return 1; }
  seen=$(at pc ping -n -c 5 -i 0.2 -W 2 -s 200 -p "$(printf %s "$marker" | od -An -tx1 | tr -d ' \n')" "$address") ||
    { echo "$seen"; return 1; }
  echo "$address: $(grep -E 'packets transmitted' <<<"$seen"), $(tail -n 1 <<<"$seen")"
  [[ $seen == *" 5 received"* && $seen != *"wrong data"* ]]
}

# explained EXPECTED-STATUS ADDRESS:PORT: the LinkManager's reason; 0 is permitted, 1 denied. A LinkManager that can't
# answer ends with 1 as well, but what it says then is an error and no reason.
explained() {
  local reason status=0
  reason=$(lm explain "$2" --protocol tcp 2>&1) || status=$?
  echo "${reason:-no reason}" | tail -n 1
  [ "$status" -eq "$1" ] && [ -n "$reason" ] && [[ $reason != Error:* ]]
}

# unreachable ERRORS ADDRESS PORT: denied by the PC's own side, which is told from a refusal by the device.
unreachable() {
  local seen reason status=0
  seen=$(probe "$2" "$3") && status=1
  reason=$(explained 1 "$2:$3") || status=1
  echo "$2:$3 $seen; LinkManager: $reason"
  [[ $seen =~ ^($1)" " ]] && [ "$status" -eq 0 ]
}

# A server listens on the device's port 8080, but the agent doesn't name that port: ICMP says "prohibited".
port_not_permitted() { unreachable "EHOSTUNREACH|EACCES" "$(alias_of site-a web)" 8080; }

# The device with a web panel that no agent names, by its own address, as there is no alias for it.
address_not_named() { unreachable "ENETUNREACH|EHOSTUNREACH" 192.168.10.40 80; }

# The address next to the agents' own, in the range that aliases are taken from.
alias_not_given() {
  local address used
  used=$(alias_of site-a web)
  for address in "${used%.*}".{250..200}; do
    grep -qwF "$address" "$state"/*.aliases || break
  done
  unreachable "ENETUNREACH|EHOSTUNREACH" "$address" 80
}

# The agent permits port 443, the device has it closed: the device's own answer comes through.
port_refused() {
  local address seen reason status=0
  address=$(alias_of site-a web)
  seen=$(probe "$address" 443) && status=1
  reason=$(explained 0 "$address:443") || status=1
  echo "$address:443 $seen; LinkManager: $reason"
  [[ $seen == ECONNREFUSED* ]] && [ "$status" -eq 0 ]
}

link_status() {
  local text
  text=$(lm status) || { echo "$text"; return 1; }
  lm status --json | "$python" -c 'import json, sys; json.load(sys.stdin)' || return 1
  echo "$(wc -l <<<"$text") lines, and JSON for scripts"
  [[ $text == *site-a* && $text == *site-b* ]]
}

# rate BYTES SECONDS, in MB/s
rate() { awk -v bytes="$1" -v seconds="$2" 'BEGIN { printf "%.0f MB/s", bytes / seconds / 1e6 }'; }

download() {
  local sum seen
  seen=$(at pc curl --silent --show-error --max-time 300 --noproxy '*' --output "$state/downloaded" \
    --write-out '%{size_download} %{time_total}' "$(url "$(alias_of site-a server)" 8000/bulk)") ||
    { echo "$seen"; return 1; }
  sum=$(sha256sum <"$state/downloaded")
  rm -f "$state/downloaded"
  echo "${seen% *} bytes in ${seen#* } s, $(rate "${seen% *}" "${seen#* }"), SHA-256 ${sum:0:16}… ${bulk_sum:0:16}…"
  [ "${sum%% *}" = "$bulk_sum" ]
}

upload() {
  local seen bytes sum seconds
  seen=$(at pc curl --silent --show-error --max-time 300 --noproxy '*' --upload-file "$state/bulk" \
    --write-out '%{time_total}' "$(url "$(alias_of site-b server)" 8000/bulk)") || { echo "$seen"; return 1; }
  read -r bytes sum seconds <<<"$(tr '\n' ' ' <<<"$seen")"
  echo "$bytes bytes in $seconds s, $(rate "$bytes" "$seconds"), SHA-256 ${sum:0:16}… ${bulk_sum:0:16}…"
  [ "$sum" = "$bulk_sum" ]
}

# throughput [IPERF3-OPTION]: five seconds to or (--reverse) from the device.
throughput() {
  local figure
  figure=$(at pc timeout --foreground 60 iperf3 --client "$(alias_of site-a server)" --time 5 --json "$@" | iperf3_figure) ||
    { echo "$figure"; return 1; }
  echo "$figure Mbit/s received in 5 s, one TCP connection"
  awk -v figure="$figure" 'BEGIN { exit !(figure > 0) }'
}

# iperf3's JSON on standard input; the rate that arrived, in Mbit/s.
iperf3_figure() {
  "$python" -c '
import json, sys
result = json.load(sys.stdin)
if "error" in result:
    sys.exit(print(result["error"]) or 1)
print(round(result["end"]["sum_received"]["bits_per_second"] / 1e6))'
}

# The marker was in pages, registers, typed lines, DNS answers and echoes. A capture without data fails as well.
capture_is_sealed() {
  "$python" "$programs/check_capture.py" "$state/capture" "${gate##*:}" "$marker" "$password" "web panel of site"
}

# Disconnecting one site cuts it, and leaves the other one alone.
disconnected() {
  local seen
  lm disconnect site-b || return 1
  seen=$(probe "$(alias_of site-b web)" 80 3) && { echo "site B still answers"; return 1; }
  echo "site B: $seen; site A: $(probe "$(alias_of site-a web)" 80)"
  probe "$(alias_of site-a web)" 80 >/dev/null
}

# gm VERB...: the administrator's command line, at GateManager's host.
gm() { at relay timeout --foreground 30 "$bin/gatemanager" "$@" --directory "$state/gatemanager"; }

# A rule that is switched off cuts the connection that it allowed, at once, and says why.
rule_revoked() {
  local why began cut
  gm why technician site-a web || return 1
  gm rule disable 1 || return 1
  began=$EPOCHREALTIME
  eventually 5 web_is_gone || return 1
  cut=$(awk -v began="$began" -v now="$EPOCHREALTIME" 'BEGIN { printf "%.1f s", now - began }')
  why=$(gm why technician site-a web) && { echo "it is still allowed: $why"; return 1; }
  lm connect site-a --reason "once more" && { echo "it can be connected to"; return 1; }
  gm rule enable 1 || return 1
  echo "site A is cut after $cut: $why"
}

web_is_gone() { ! probe "$(alias_of site-a web)" 80 1 >/dev/null; }

# hold_open ADDRESS PORT: a connection from the PC that stays open until it is cut; its process is $held.
hold_open() {
  at pc bash -c "exec 3<>/dev/tcp/$1/$2 && cat <&3 >/dev/null" 2>/dev/null &
  held=$!
  sleep 1
  kill -0 "$held"
}

audited() { gm audit list | grep -q -e "$1"; }

held_is_cut() { ! kill -0 "$held" 2>/dev/null; }

# A rule that asks for a reason, and is open until the end of this minute: what is open then is cut on time.
slot_ends() {
  local start end rule said late
  # Enough of the minute has to be left to connect in it.
  start=$(date +%s)
  if [ $((start % 60)) -gt 40 ]; then
    sleep $((60 - start % 60))
    start=$(date +%s)
  fi
  end=$(((start / 60 + 1) * 60))
  said=$(date -u -d "@$end" +%H:%M)
  [ "$said" != 00:00 ] || said=24:00
  lm disconnect site-a >/dev/null
  gm rule disable 1 &&
    rule=$(gm rule add --account technician --slot "* $(date -u -d "@$start" +%H:%M)-$said" --zone UTC --require-reason) ||
    return 1
  said=$(lm connect site-a 2>&1) && { echo "connected without a reason"; return 1; }
  grep -q "rule $rule asks for a reason" <<<"$said" || { echo "$said"; return 1; }
  connect_site site-a && hold_open "$(alias_of site-a server)" 22 || return 1
  eventually 65 held_is_cut || { echo "it isn't cut"; return 1; }
  late=$(awk -v end="$end" -v now="$EPOCHREALTIME" 'BEGIN { printf "%.1f", now - end }')
  said=$(gm why technician site-a server --with-reason) && { echo "it is still allowed: $said"; return 1; }
  eventually 5 audited "disconnect .*reason=\"the time of rule $rule is over" || return 1
  gm rule remove "$rule" && gm rule enable 1 || return 1
  eventually 60 connect_once site-a || return 1
  echo "cut $late s after the slot's end; $said"
  awk -v late="$late" 'BEGIN { exit !(late > -0.5 && late < 2) }'
}

# The operator on site switches an agent off: what is open is cut at once, and everybody is told why.
switched_off_on_site() {
  local began cut said
  hold_open "$(alias_of site-a server)" 22 || return 1
  began=$EPOCHREALTIME
  briefly site-a "$bin/sitemanager" remote off server --reason "press 4 is being set up" --directory "$state/site-a" ||
    return 1
  eventually 5 held_is_cut || { echo "it isn't cut"; return 1; }
  cut=$(awk -v began="$began" -v now="$EPOCHREALTIME" 'BEGIN { printf "%.1f s", now - began }')
  said=$(lm explain "$(alias_of site-a server):22") && { echo "it is permitted: $said"; return 1; }
  grep -q "switched off on site: press 4 is being set up" <<<"$said" || { echo "$said"; return 1; }
  probe "$(alias_of site-a web)" 80 >/dev/null || { echo "another agent is gone, too"; return 1; }
  briefly site-a "$bin/sitemanager" remote on server --directory "$state/site-a" || return 1
  eventually 5 probe "$(alias_of site-a server)" 22 1 || return 1
  echo "cut after $cut: $said"
}

# Who did what is all there, and as it was written.
audit_is_whole() {
  local whole entries
  whole=$(gm audit verify) || { echo "$whole"; return 1; }
  entries=$(gm audit list) || return 1
  for kind in created login enrolment "connect .*reason=\"demonstration $marker" "disconnect .*bytesFromSite" \
    'ruleChange .*object="rule 1 off"' 'refusal .*operation="connect"' \
    'disconnect .*reason="the time of rule' 'veto .*operation="switchOff"' 'veto .*operation="switchOn"'; do
    grep -q "relayvpn-gate - $kind" <<<"$entries" || { echo "no entry for $kind"; echo "$entries"; return 1; }
  done
  echo "$(wc -l <<<"$entries") entries, $whole"
}
