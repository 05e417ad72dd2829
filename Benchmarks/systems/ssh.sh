# shellcheck shell=bash disable=SC2034,SC2154  # sourced by system.sh
# ssh port forwarding through an sshd at the relay: the site forwards the device's ports to it (-R), the PC takes them
# from there (-L). AES-256-GCM. TCP only, ports named one by one, and the relay can read everything.

system_version() { ssh -V 2>&1 | cut -d ' ' -f 1 | tr -d ,; }

# ssh_end PART OPTION...
ssh_end() {
  start "ssh-$1" "$1" ssh -F none -N -i "$state/ssh/client" -c aes256-gcm@openssh.com -o BatchMode=yes \
    -o StrictHostKeyChecking=yes -o GlobalKnownHostsFile=none -o UserKnownHostsFile="$state/ssh/known" \
    -o ExitOnForwardFailure=yes "${@:2}" root@203.0.113.1
}

system_start() {
  local home=$state/ssh port there=() here=()
  mkdir -p "$home" && ssh-keygen -q -t ed25519 -N '' -f "$home/host" && ssh-keygen -q -t ed25519 -N '' -f "$home/client" ||
    return 1
  echo "203.0.113.1 $(cut -d ' ' -f 1,2 "$home/host.pub")" >"$home/known"
  cat >"$home/sshd_config" <<END
ListenAddress 203.0.113.1
HostKey $home/host
AuthorizedKeysFile $home/client.pub
PidFile none
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
StrictModes no
UsePAM yes
UseDNS no
END
  for port in "${tcp_ports[@]}"; do
    there+=(-R "127.0.0.1:$port:$device:$port")
    here+=(-L "127.0.0.1:$port:127.0.0.1:$port")
  done
  # sshd wants /run/sshd, which its service makes: here in a /run of its own.
  # shellcheck disable=SC2016  # $0 is the inner shell's
  start sshd relay unshare --mount sh -c \
    'mount -t tmpfs tmpfs /run && mkdir /run/sshd && exec /usr/sbin/sshd -D -e -f "$0"' "$home/sshd_config"
  eventually 10 at relay "$python" "$programs/probe.py" 203.0.113.1 22 || return 1
  ssh_end site-a "${there[@]}"
  eventually 10 at relay "$python" "$programs/probe.py" 127.0.0.1 5201 || return 1
  ssh_end pc "${here[@]}"
  target=127.0.0.1
  reachable "$target"
}
