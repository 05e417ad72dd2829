#!/usr/bin/env bash
# `make bench`, `make bench-quick`, `make bench-openvpn`: this product beside what would be used instead, in interleaved
# rounds of one run. `make bench-scale`: this product with very many that are idle. This script makes sure that it can
# run and that nothing of it stays; harness/ measures.
#
# usage: run.sh TARGET [OPTION...]        the options: harness/__main__.py, of bench-scale harness/scale.py
set -uo pipefail

here=$(dirname "${BASH_SOURCE[0]}")
export RELAYVPN_DEMO_PREFIX=${RELAYVPN_DEMO_PREFIX:-rvbench}
# shellcheck source=Demo/common.sh
. "$here/../Demo/common.sh"

target=$1
shift
require_privileges "$target"
"$root/Benchmarks/install-dependencies" ||
  cannot_run "packages are missing, and installing them failed." "see what apt says above"
build_hosts || exit 1
program=$root/Benchmarks/harness
if [ "$target" = bench-scale ]; then
  program+=/scale.py
  if [ -z "${RELAYVPN_BIN-}" ]; then
    swift build --package-path "$root" -c release --static-swift-stdlib --product Fleet || exit 1
  elif [ ! -x "$bin/Fleet" ]; then
    cannot_run "there is no Fleet in $bin." "build it: swift build -c release --static-swift-stdlib --product Fleet"
  fi
fi
begin_run
# For a thousand flows through systems that take two descriptors or more for each.
ulimit -n "$(ulimit -Hn)"

export RELAYVPN_BIN=$bin
# In the background and waited for, as bash acts on a signal only between foreground commands.
"$python" "$program" --state "$state" --prefix "$prefix" "$@" &
running=$!
wait "$running"
status=$?
running=
exit "$status"
