# shellcheck shell=bash disable=SC2034,SC2154  # shares variables with the scripts that source it
# What the demonstration and the comparison share: where things are, what must be there, how to start and to clean up.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=Demo/topology.sh
. "$root/Demo/topology.sh"

prefix=${RELAYVPN_DEMO_PREFIX:-rvdemo}
programs=$root/Demo/programs
python=$root/.demo/python/bin/python3
export PYTHONDONTWRITEBYTECODE=1

# cannot_run REASON WAY-OUT
cannot_run() {
  printf 'This cannot run here: %s\nWhat to do: %s\n' "$1" "$2" >&2
  exit 2
}

# Everything that would only fail half-way otherwise, checked in the order in which it can be: root, packages, and
# what the kernel lets root do.
require_privileges() {
  [ "$(uname -s)" = Linux ] || cannot_run "it needs Linux." "use a Debian 12 machine, real or virtual."
  [ "$(id -u)" -eq 0 ] ||
    cannot_run "network namespaces and TUN devices need root." "sudo --preserve-env=PATH make $1"
  "$root/Scripts/install-dependencies" ||
    cannot_run "packages are missing, and installing them failed." "see what apt or pip says above"
  unshare --net --mount true 2>/dev/null ||
    cannot_run "root may not make network namespaces here." \
      "use a real or virtual machine, or a container with --privileged"
  [ -c /dev/net/tun ] || modprobe tun 2>/dev/null
  # A device in a namespace that is gone at once: the file alone proves nothing.
  unshare --net ip tuntap add dev probe mode tun 2>/dev/null ||
    cannot_run "TUN devices can't be made (/dev/net/tun)." \
      "modprobe tun; in a container, start it with --device /dev/net/tun and --privileged"
}

# Only one at a time may own the prefix: the next one would tear down the first one's namespaces.
require_alone() {
  local file=/run/$prefix.pid other
  other=$(cat "$file" 2>/dev/null) || other=
  if [[ $other =~ ^[0-9]+$ && $other != "$$" ]] && grep -qsaE '(Demo|Benchmarks)/' "/proc/$other/cmdline"; then
    cannot_run "process $other is running it already." "wait for it, or set RELAYVPN_DEMO_PREFIX to another name"
  fi
  echo $$ >"$file"
}

# Builds the hosts in release mode and sets `bin`. RELAYVPN_BIN names a directory with built ones instead.
build_hosts() {
  bin=${RELAYVPN_BIN-}
  [ -z "$bin" ] || return 0
  command -v swift >/dev/null ||
    cannot_run "there is no Swift toolchain in PATH." \
      "install Swift 6.3 (https://www.swift.org/install/linux/); with sudo, keep PATH: sudo --preserve-env=PATH"
  local product
  for product in gatemanager sitemanager linkmanager; do
    swift build --package-path "$root" -c release --static-swift-stdlib --product "$product" || return 1
  done
  bin=$(swift build --package-path "$root" -c release --show-bin-path)
}

# Removes all that a run makes, this one's or that of one that was killed.
clean_up() {
  local directory
  topology_down "$prefix"
  for directory in "/tmp/$prefix".??????; do
    if [ -d "$directory" ] && [ -O "$directory" ]; then
      rm -rf "$directory"
    fi
  done
  rm -f "/run/$prefix.pid"
}

# Makes `state`, the directory of this run, and sees to it that nothing outlives the script, however it ends.
begin_run() {
  require_alone
  clean_up
  echo $$ >"/run/$prefix.pid"
  trap 'exit 130' INT
  trap 'exit 143' TERM HUP
  trap 'trap "" INT TERM HUP; [ -z "${running-}" ] || kill "$running" 2>/dev/null; clean_up' EXIT
  state=$(mktemp -d "/tmp/$prefix.XXXXXX")
  mkdir "$state/log"
}

# at PART COMMAND...: runs the command in the part's namespace.
at() {
  ip netns exec "$prefix-$1" "${@:2}"
}

# start NAME PART COMMAND...: the same, as a long-running process with a log of its own, out of Ctrl-C's reach.
start() {
  ip netns exec "$prefix-$2" setsid "${@:3}" >"$state/log/$1" 2>&1 </dev/null &
}

# eventually SECONDS COMMAND...: repeats the command until it succeeds. Shows what it said last when it never did.
eventually() {
  local deadline=$((SECONDS + $1)) said
  shift
  until said=$("$@" 2>&1); do
    if [ "$SECONDS" -ge "$deadline" ]; then
      printf 'in vain: %s\n%s\n' "$*" "$said" >&2
      return 1
    fi
    sleep 0.2
  done
}
