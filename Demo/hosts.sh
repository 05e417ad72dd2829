# shellcheck shell=bash disable=SC2034,SC2154  # shares variables with the scripts that source it
# The three hosts as separate processes, set up as a user would: keys, an account, two enrolled sites, a login.

gate=203.0.113.1:443
# What all services are started with besides.
run_options=()

# briefly PART COMMAND...: a command that has a minute.
briefly() { at "$1" timeout --foreground 60 "${@:2}"; }

# lm VERB...: the technician's command line, on the PC.
lm() {
  at pc timeout --foreground 30 "$bin/linkmanager" "$@" --directory "$state/linkmanager"
}

start_gate() {
  local directory=$state/gatemanager
  (umask 077 && printf '%s\n' "$password" >"$state/password")
  briefly relay "$bin/gatemanager" init --directory "$directory" --name gm.example >"$state/log/gm-init" 2>&1 &&
    briefly relay "$bin/gatemanager" user add technician --directory "$directory" \
      --password-file "$state/password" >"$state/log/gm-user" 2>&1 || return 1
  start gatemanager relay "$bin/gatemanager" run --directory "$directory" --listen "$gate" "${run_options[@]}"
  eventually 15 at relay "$python" "$programs/probe.py" "${gate%:*}" "${gate##*:}"
}

# start_site LETTER
start_site() {
  local name=site-$1 directory=$state/site-$1 code
  code=$(briefly relay "$bin/gatemanager" site add "$name" --directory "$state/gatemanager" 2>"$state/log/gm-$name" |
    tail -n 1) || return 1
  write_agents "$state/$name.yaml"
  briefly "$name" "$bin/sitemanager" check --agents "$state/$name.yaml" >"$state/log/$name-check" 2>&1 &&
    briefly "$name" "$bin/sitemanager" enroll --directory "$directory" --gate "$gate" --name "$name" --code "$code" \
      >"$state/log/$name-enroll" 2>&1 || return 1
  start "$name" "$name" "$bin/sitemanager" run --directory "$directory" --agents "$state/$name.yaml" \
    "${run_options[@]}"
}

start_link() {
  briefly pc "$bin/linkmanager" login --directory "$state/linkmanager" --gate "$gate" --user technician \
    --password-file "$state/password" --yes >"$state/log/lm-login" 2>&1 || return 1
  start linkmanager pc "$bin/linkmanager" run --directory "$state/linkmanager" "${run_options[@]}"
  eventually 15 lm status
}

# connect_site SITE: connects and keeps the table of aliases. Sites that are just starting get their time.
connect_site() {
  eventually 20 connect_once "$1" || return 1
  [ -n "$(alias_of "$1" server)" ]
}

connect_once() {
  # In one piece on error, so that the reason of the refusal is what is shown.
  lm connect "$1" --reason "demonstration $marker" >"$state/$1.aliases" 2>"$state/log/lm-connect" ||
    { cat "$state/$1.aliases" "$state/log/lm-connect"; return 1; }
}

# alias_of SITE AGENT [4|6]: the agent's address on the PC, from the table that `connect` printed. The line is the one
# with the agent's name in it (alone or as SITE/AGENT); the device's own address, which may stand there too, is passed
# over.
alias_of() {
  awk -v agent="$2" -v path="$1/$2" -v family="${3:-4}" '
    {
      found = 0
      for (i = 1; i <= NF; i++) if ($i == agent || $i == path) found = 1
      for (i = 1; found && i <= NF; i++) {
        word = $i
        gsub(/[][,;()]|\/[0-9]+/, "", word)
        if (word ~ /^192\.168\.10\./ || word ~ /^fd00:10::/) continue
        if (word ~ (family == 4 ? "^[0-9]+[.][0-9]+[.][0-9]+[.][0-9]+$" : "^[0-9a-f]*:[0-9a-f:]*:[0-9a-f]*$")) {
          print word
          exit
        }
      }
    }' "$state/$1.aliases"
}

# start_hosts: all of it, in order. Says which part failed and shows its log.
start_hosts() {
  local part
  for part in start_gate "start_site a" "start_site b" start_link "connect_site site-a" "connect_site site-b"; do
    # shellcheck disable=SC2086  # function and argument are two words
    if ! $part; then
      echo "$part failed; the ends of the logs:"
      show_logs
      return 1
    fi
  done
}

show_logs() {
  local file
  for file in "$state/log/"{gm-,gatemanager,site-,lm-,linkmanager}*; do
    [ ! -s "$file" ] || { echo "--- ${file##*/}" && tail -n 8 "$file"; }
  done
}
