# shellcheck shell=bash disable=SC2034,SC2154  # shares variables with the scripts that source it
# The devices of a site: real servers on the addresses that every site uses alike.
#   192.168.10.10  web panel on 80 (and, for no agent, on 8080); 443 is closed
#   192.168.10.20  PLC: Modbus/TCP on 502
#   192.168.10.30  server: ssh on 22, DNS on 53, web with large files on 8000, iperf3 on 5201
#   192.168.10.40  a web panel that no agent names
#   fd00:10::10    camera: web on 80, over IPv6

# start_devices LETTER
start_devices() {
  local part=device-$1 home=$state/device-$1
  mkdir -p "$home/web" "$home/camera"
  echo "web panel of site $1 $marker" >"$home/web/index.html"
  echo "camera of site $1 $marker" >"$home/camera/index.html"
  [ ! -e "$state/bulk" ] || ln "$state/bulk" "$home/web/bulk"

  local listener
  for listener in 192.168.10.10:80 192.168.10.10:8080 192.168.10.30:8000 192.168.10.40:80; do
    start "web-$1-$listener" "$part" "$python" "$programs/web_server.py" "${listener%:*}" "${listener##*:}" "$home/web"
  done
  start "camera-$1" "$part" "$python" "$programs/web_server.py" fd00:10::10 80 "$home/camera"
  start "plc-$1" "$part" "$python" "$programs/modbus_device.py" 192.168.10.20 502 "$marker"
  start "iperf3-$1" "$part" iperf3 --server --bind 192.168.10.30
  start "dns-$1" "$part" dnsmasq --keep-in-foreground --conf-file=/dev/null --pid-file= --log-facility=- --user=root \
    --no-resolv --no-hosts --bind-interfaces --listen-address=192.168.10.30 \
    --address="/plant.example/192.0.2.77" --txt-record="note.plant.example,site-$1 $marker"
  start_ssh_server "$1"
  await_devices "$1"
}

# An sshd with keys and configuration of its own. The user is root, because the demonstration is.
start_ssh_server() {
  local home=$state/device-$1
  ssh-keygen -q -t ed25519 -N '' -C "device-$1" -f "$home/ssh_host_key"
  [ -e "$state/ssh_key" ] || ssh-keygen -q -t ed25519 -N '' -C technician -f "$state/ssh_key"
  echo "device-$1 $(cut -d ' ' -f 1,2 "$home/ssh_host_key.pub")" >>"$state/ssh_known_hosts"
  cat >"$home/sshd_config" <<END
ListenAddress 192.168.10.30
HostKey $home/ssh_host_key
AuthorizedKeysFile $state/ssh_key.pub
PidFile none
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
StrictModes no
UsePAM yes
UseDNS no
PrintMotd no
END
  # sshd wants /run/sshd, which its service makes: here in a /run of its own, so that no other run can take it away.
  # shellcheck disable=SC2016  # $0 is the inner shell's
  start "sshd-$1" "device-$1" unshare --mount sh -c \
    'mount -t tmpfs tmpfs /run && mkdir /run/sshd && exec /usr/sbin/sshd -D -e -f "$0"' "$home/sshd_config"
}

# Seen from the site's own LAN, every server answers: what fails from here on fails on the way.
await_devices() {
  local target
  for target in "192.168.10.10 80" "192.168.10.10 8080" "192.168.10.20 502" "192.168.10.30 22" \
    "192.168.10.30 8000" "192.168.10.30 5201" "192.168.10.40 80" "fd00:10::10 80"; do
    # shellcheck disable=SC2086  # address and port are two words
    eventually 15 at "site-$1" "$python" "$programs/probe.py" $target || return 1
  done
  eventually 15 at "site-$1" dig +time=1 +tries=1 +short @192.168.10.30 any.plant.example
}

# write_agents FILE: what the site permits.
write_agents() {
  cat >"$1" <<'END'
# Agents of this site: each line of `tcp`/`udp` is a port or a range.
agents:
  - name: web
    device: 192.168.10.10
    tcp: [80, 443, 8000-8010]
    ping: true
  - name: plc
    device: 192.168.10.20
    tcp: [502]
  - name: server
    device: 192.168.10.30
    tcp: [22, 53, 5201, 8000]
    udp: [53, 5201]
    ping: true
  - name: camera6
    device: fd00:10::10
    tcp: [80]
    ping: true
END
}
