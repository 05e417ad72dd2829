# shellcheck shell=bash disable=SC2034,SC2154  # sourced by system.sh
# stunnel at the PC, HAProxy at the relay, stunnel at the site: the best relay off the shelf that is encrypted from end to
# end, for ports that are named one by one, TCP only. No TUN, no filter, and the relay must be able to dial the site.
# TLS 1.3 with AES-256-GCM, both ends with certificates. HAProxy splices in both directions through pipes of 1 MiB
# (`splice-auto` leaves it to a guess, and never spliced here).

system_version() {
  echo "$(stunnel -version 2>&1 | awk '/^stunnel/ { print $1, $2; exit }' || true)," \
    "$(haproxy -v | awk 'NR == 1 { print $1, $3 }')"
}

# stunnel_end NAME PART FROM TO PORT...: takes each port at one address and carries it to the other.
stunnel_end() {
  local name=$1 accept=$3 connect=$4 port
  {
    cat <<END
foreground = yes
pid =
syslog = no
debug = warning
sslVersion = TLSv1.3
ciphersuites = TLS_AES_256_GCM_SHA384
CAfile = $state/stunnel/ca.crt
cert = $state/stunnel/$name.crt
key = $state/stunnel/$name.key
verifyChain = yes
socket = l:TCP_NODELAY=1
socket = r:TCP_NODELAY=1
END
    [ "$name" != pc ] || echo "client = yes"
    for port in "${@:5}"; do
      printf '[port-%s]\naccept = %s:%s\nconnect = %s:%s\n' "$port" "$accept" "$port" "$connect" "$port"
    done
  } >"$state/stunnel/$name.conf"
  start "stunnel-$name" "$2" stunnel "$state/stunnel/$name.conf"
}

# forward_up ADDRESS PORT...: from the PC's 127.0.0.1 to the address, as the site sees it.
forward_up() {
  local port
  authority "$state/stunnel" pc:clientAuth site:serverAuth || return 1
  {
    cat <<END
global
  maxconn 4000
  nbthread $(nproc)
  tune.pipesize 1048576
defaults
  mode tcp
  option splice-request
  option splice-response
  timeout connect 5s
  timeout client 1h
  timeout server 1h
END
    for port in "${@:2}"; do
      printf 'listen port-%s\n  bind 203.0.113.1:%s\n  server site 203.0.113.21:%s\n' "$port" "$port" "$port"
    done
  } >"$state/haproxy.cfg"
  stunnel_end site site-a 203.0.113.21 "$1" "${@:2}"
  start haproxy relay haproxy -db -f "$state/haproxy.cfg"
  stunnel_end pc pc 127.0.0.1 203.0.113.1 "${@:2}"
}

system_start() {
  forward_up "$device" "${tcp_ports[@]}" || return 1
  target=127.0.0.1
  reachable "$target"
}
