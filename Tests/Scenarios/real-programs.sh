# shellcheck shell=bash disable=SC2034,SC2154  # shares variables with the scripts that source it
# Real programs as devices, and how to use them from the PC: nc, curl with HTTP/1.0, rsync, FTP.

bulk=$state/bulk

# start_real_programs: the servers on 192.168.10.10, an agent for them, connected; and a file to send.
start_real_programs() {
  head -c 8000000 /dev/urandom >"$bulk"
  start_rsync_daemon && start_ftp_server || return 1
  cat >>"$state/site-a.yaml" <<'END_AGENTS'
  - name: programs
    device: 192.168.10.10
    tcp: [873, 9100-9110]
    ftp: true
END_AGENTS
  briefly site-a "$bin/sitemanager" reload --directory "$state/site-a" || return 1
  lm disconnect site-a && connect_once site-a || return 1
  eventually 10 at site-a "$python" "$programs/probe.py" 192.168.10.10 873 &&
    eventually 10 at site-a "$python" "$programs/probe.py" 192.168.10.10 21
}

# device_nc PORT: what it reads from the PC goes to standard output, and the end of standard input to the PC (-N).
device_nc() { at device-a timeout 60 nc -4 -N -l 192.168.10.10 "$1"; }

# listens_at PORT: the device does.
listens_at() { [ -n "$(at device-a ss -Hltn "sport = :$1")" ]; }

# Reads to the end, and only then says what it was, with the bulk file behind it.
answer="sha256sum && cat $bulk"

# right_answer FILE: whether it is that answer to the bulk file.
right_answer() {
  [ "$(head -n 1 "$1")" = "$(sha256sum <"$bulk")" ] && tail -n +2 "$1" | cmp - "$bulk"
}

# half_close_by_client, half_close_by_server: one side ends its direction when it has sent all; the other one answers
# only after that, with as much. (nc keeps its standard output open to its own end: what answers is socat.)
half_close_by_client() {
  at device-a timeout 60 socat -t60 TCP-LISTEN:9100,bind=192.168.10.10,reuseaddr SYSTEM:"$answer" &
  eventually 10 listens_at 9100 || return 1
  at pc timeout 60 nc -4 -N "$(alias_of site-a programs)" 9100 <"$bulk" >"$state/answer" &&
    wait $! && right_answer "$state/answer" && echo same
}
half_close_by_server() {
  device_nc 9101 <"$bulk" >"$state/question" &
  eventually 10 listens_at 9101 || return 1
  at pc timeout 60 socat -t60 TCP:"$(alias_of site-a programs)":9101 SYSTEM:"$answer" &&
    wait $! && right_answer "$state/question" && echo same
}

# idle_echo PORT SECONDS: a connection over which nothing passes for so long, and then the rest.
idle_echo() {
  at device-a timeout $(($2 + 60)) socat -t10 "TCP-LISTEN:$1,bind=192.168.10.10,reuseaddr" PIPE &
  eventually 10 listens_at "$1" || return 1
  { printf 'before\n' && sleep "$2" && printf 'after\n'; } |
    at pc timeout $(($2 + 30)) nc -4 -N "$(alias_of site-a programs)" "$1" >"$state/idle-$1" &&
    [ "$(cat "$state/idle-$1")" = "$(printf 'before\nafter')" ] && echo same
}

# until_close: an HTTP/1.0 answer without a length ends with the connection.
until_close() {
  { printf 'HTTP/1.0 200 OK\r\nContent-Type: application/octet-stream\r\n\r\n' && cat "$bulk"; } |
    device_nc 9102 >"$state/request" &
  eventually 10 listens_at 9102 || return 1
  fetch "$(alias_of site-a programs)" 9102/bulk --http1.0 --output "$state/body" || return 1
  wait $!
  cmp "$bulk" "$state/body" && grep -q '^GET /bulk HTTP/1.0' "$state/request" && echo same
}

start_rsync_daemon() {
  mkdir -p "$state/device-a/rsync" "$state/device-a/rsync-in"
  cat >"$state/device-a/rsyncd.conf" <<END_RSYNC
use chroot = no
uid = root
munge symlinks = no
gid = root
[out]
path = $state/device-a/rsync
[in]
path = $state/device-a/rsync-in
read only = no
END_RSYNC
  start rsync device-a rsync --daemon --no-detach --address=192.168.10.10 --config="$state/device-a/rsyncd.conf"
}

# a_tree DIRECTORY: large and small files, empty ones, and a link. The large one is of yesterday: a change within the
# same second isn't seen by rsync, which compares sizes and seconds.
a_tree() {
  local number
  mkdir -p "$1/deep/deeper"
  cp "$bulk" "$1/bulk"
  for number in {1..200}; do head -c $((number * 97)) "$bulk" >"$1/deep/$number"; done
  : >"$1/deep/deeper/empty"
  ln -s ../bulk "$1/deep/link"
  touch -d yesterday "$1/bulk"
}

# rsync_both_ways: a tree fetched, a tree sent, and sent again with a change in the middle of its large file.
rsync_both_ways() {
  local module
  module=rsync://$(alias_of site-a programs)
  a_tree "$state/device-a/rsync" && a_tree "$state/tree" || return 1
  at pc timeout 60 rsync -a "$module/out/" "$state/fetched/" && diff -r "$state/device-a/rsync" "$state/fetched" || return 1
  at pc timeout 60 rsync -a "$state/tree/" "$module/in/" && diff -r "$state/tree" "$state/device-a/rsync-in" || return 1
  printf changed | dd of="$state/tree/bulk" bs=1 seek=4000000 conv=notrunc status=none
  at pc timeout 60 rsync -a --stats "$state/tree/" "$module/in/" >"$state/log/rsync-stats" &&
    diff -r "$state/tree" "$state/device-a/rsync-in" || return 1
  # Checksums over all of it: nothing is left to be done.
  ! at pc timeout 60 rsync -rlcn --out-format=%n "$state/tree/" "$module/in/" | grep -v '/$' &&
    grep 'Literal data' "$state/log/rsync-stats" && echo same
}

start_ftp_server() {
  local home=$state/device-a/ftp
  mkdir -p "$home/upload" "$state/device-a/empty" && cp "$bulk" "$home/bulk" && chmod 755 "$state" "$state/device-a" "$home" &&
    chmod 644 "$home/bulk" && chown ftp "$home/upload" || return 1
  cat >"$state/device-a/vsftpd.conf" <<END_FTP
listen=YES
background=NO
listen_address=192.168.10.10
anonymous_enable=YES
no_anon_password=YES
anon_root=$home
write_enable=YES
anon_upload_enable=YES
anon_umask=022
pasv_min_port=30000
pasv_max_port=30009
port_enable=YES
seccomp_sandbox=NO
secure_chroot_dir=$state/device-a/empty
END_FTP
  start vsftpd device-a vsftpd "$state/device-a/vsftpd.conf"
}

# ftp_by_curl NAME OPTION...: the file comes and goes; the name is that of the copy at the device. No agent names the
# ports of data connections: they are opened by what the control connection says.
ftp_by_curl() {
  local url
  url=ftp://$(alias_of site-a programs)
  at pc curl --silent --show-error --max-time 60 "${@:2}" --output "$state/from-ftp" "$url/bulk" &&
    cmp "$bulk" "$state/from-ftp" &&
    at pc curl --silent --show-error --max-time 60 "${@:2}" --upload-file "$bulk" "$url/upload/$1" &&
    cmp "$bulk" "$state/device-a/ftp/upload/$1" && echo same
}

# ftp_by_lftp NAME yes|no: a directory listed, the file fetched in the passive mode, or not, and sent.
ftp_by_lftp() {
  at pc timeout 60 lftp -c "set net:timeout 10; set net:max-retries 1; set ftp:passive-mode $2; set xfer:clobber yes
    open ftp://$(alias_of site-a programs)
    ls
    get bulk -o $state/from-ftp
    put -O upload $bulk -o $1" &&
    cmp "$bulk" "$state/from-ftp" && cmp "$bulk" "$state/device-a/ftp/upload/$1" && echo same
}

# ftp_ends_shut: once control connections have ended, nothing that was said on them is open any more.
ftp_ends_shut() {
  local port
  for port in {30000..30009} 20; do
    ! probe "$(alias_of site-a programs)" "$port" 2 || return 1
  done
  [ -z "$(at site-a ss -Hltn)" ] && echo same
}
