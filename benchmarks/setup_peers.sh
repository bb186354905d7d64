#!/usr/bin/env bash
# Put the process managers and crons that `make bench` compares with into a directory of their own, and build the C
# programs. What is there already stays; what cannot be had is left out, and the comparison does without it.
#
#   setup_peers.sh DIR
set -uo pipefail
mkdir -p "$1"
peers=$(readlink -f "$1")
cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")"

without() { echo "bench: going on without $1" >&2; }

for program in probe limit stamp; do
  if [ ! "$peers/$program" -nt "programs/$program.c" ]; then
    flags=$([ "$program" = probe ] && echo -static)
    # shellcheck disable=SC2086  # no flag is no word
    cc -O2 $flags -o "$peers/$program" "programs/$program.c" || exit 1
  fi
done

if [ ! -x "$peers/circus/bin/circusd" ]; then
  python3 -m venv "$peers/circus" \
    && "$peers/circus/bin/pip" install -qq --disable-pip-version-check circus || without circus
fi

if [ ! -x "$peers/yacron/bin/yacron" ]; then
  python3 -m venv "$peers/yacron" \
    && "$peers/yacron/bin/pip" install -qq --disable-pip-version-check yacron || without yacron
fi

if [ ! -x "$peers/npm/node_modules/.bin/pm2" ] && command -v npm >/dev/null; then
  npm install --silent --no-fund --no-audit --prefix "$peers/npm" pm2 >/dev/null || without pm2
fi

for program in runsvdir:runit s6-svscan:s6 svscan:daemontools cron:cron; do
  command -v "${program%%:*}" >/dev/null || without "${program##*:} (apt-get install ${program##*:})"
done
