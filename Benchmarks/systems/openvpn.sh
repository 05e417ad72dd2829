# shellcheck shell=bash disable=SC2034,SC2154  # sourced by openvpn-tcp.sh, openvpn-udp.sh and openvpn-tap.sh
# OpenVPN, hub and spoke as it is used for such sites: a server at the relay, the PC and the site's gateway as its
# clients, client to client. AES-256-GCM. No kernel module (DCO): Debian 12 brings none.

system_version() { openvpn --version | awk 'NR == 1 { print $1, $2 }'; }

openvpn_device=(--dev tun --topology subnet)

# openvpn_end NAME PART OPTION...: what all ends have in common.
openvpn_end() {
  start "openvpn-$1" "$2" openvpn --cd "$state/openvpn" "${openvpn_device[@]}" --ca ca.crt --cert "$1.crt" \
    --key "$1.key" --data-ciphers AES-256-GCM --disable-dco --verb 3 "${@:3}"
}

# openvpn_start SERVER-PROTOCOL CLIENT-PROTOCOL OPTION...
openvpn_start() {
  local home=$state/openvpn part
  authority "$home" hub:serverAuth pc:clientAuth site-a:clientAuth && mkdir "$home/clients" && site_forwards || return 1
  # The site's gateway brings its LAN into the VPN; the hub hands packets from client to client.
  echo "iroute 192.168.10.0 255.255.255.0" >"$home/clients/site-a"
  echo 'push "route 192.168.10.0 255.255.255.0"' >"$home/clients/pc"
  openvpn_end hub relay --mode server --tls-server --proto "$1" --port 1194 --dh none --client-to-client \
    --ifconfig 10.9.0.1 255.255.255.0 --ifconfig-pool 10.9.0.10 10.9.0.20 --push "topology subnet" \
    --push "route-gateway 10.9.0.1" --client-config-dir clients --keepalive 10 60 "${@:3}"
  eventually 10 grep -q 'Initialization Sequence Completed' "$state/log/openvpn-hub" || return 1
  for part in site-a pc; do
    openvpn_end "$part" "$part" --client --proto "$2" --remote 203.0.113.1 1194 --nobind --remote-cert-tls server \
      "${@:3}"
  done
  target=$device
  reachable "$target"
}
