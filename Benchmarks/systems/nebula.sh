# shellcheck shell=bash disable=SC2034,SC2154  # sourced by system.sh
# nebula with a relay: a lighthouse at the relay, through which PC and site must talk, as they can't directly.
# AES-256-GCM from end to end; the site's gateway brings its LAN in as an unsafe route.

system_version() { nebula -version 2>&1 | sed 's/^Version: */nebula /'; }

# nebula_end NAME PART: reads what is special of the end from standard input.
nebula_end() {
  local home=$state/nebula
  {
    cat <<END
pki: { ca: $home/ca.crt, cert: $home/$1.crt, key: $home/$1.key }
static_host_map: { "10.9.0.1": ["203.0.113.1:4242"] }
cipher: aes
logging: { level: warning, format: text }
firewall:
  outbound: [{ port: any, proto: any, host: any }]
  inbound: [{ port: any, proto: any, host: any }]
END
    cat
  } >"$home/$1.yml"
  start "nebula-$1" "$2" nebula -config "$home/$1.yml"
}

system_start() {
  local home=$state/nebula
  mkdir -p "$home" && cd "$home" && nebula-cert ca -name bench -duration 48h &&
    nebula-cert sign -name relay -ip 10.9.0.1/24 && nebula-cert sign -name pc -ip 10.9.0.10/24 &&
    nebula-cert sign -name site -ip 10.9.0.11/24 -subnets 192.168.10.0/24 && cd "$root" && site_forwards || return 1
  nebula_end relay relay <<END
lighthouse: { am_lighthouse: true }
listen: { host: 203.0.113.1, port: 4242 }
relay: { am_relay: true, use_relays: false }
tun: { dev: nebula, mtu: 1300 }
END
  nebula_end site site-a <<END
lighthouse: { am_lighthouse: false, interval: 5, hosts: ["10.9.0.1"] }
listen: { host: 203.0.113.21, port: 0 }
relay: { relays: ["10.9.0.1"], am_relay: false, use_relays: true }
tun: { dev: nebula, mtu: 1300 }
END
  nebula_end pc pc <<END
lighthouse: { am_lighthouse: false, interval: 5, hosts: ["10.9.0.1"] }
listen: { host: 203.0.113.10, port: 0 }
relay: { relays: ["10.9.0.1"], am_relay: false, use_relays: true }
tun: { dev: nebula, mtu: 1300, unsafe_routes: [{ route: 192.168.10.0/24, via: 10.9.0.11 }] }
END
  target=$device
  reachable "$target"
}
