#!/usr/bin/env bash
# Make (or bring up to date) a virtual environment with exactly the packages of a lock file, and this
# checkout in it as an editable install.
#
#   make_venv.sh DIR LOCK          PYTHON=/path/to/python3 chooses the interpreter
set -euo pipefail

cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.."
venv=$1 lock=$2

is_new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }
has_venv() { "$1" -c 'import ensurepip, venv' 2>/dev/null; }

find_python() {
  local name old=""
  for name in ${PYTHON:-python3 python3.11 python3.12 python3.13 python3.14 /usr/bin/python3}; do
    is_new_enough "$name" || continue
    if has_venv "$name"; then
      echo "$name"
      return
    fi
    old=$name
  done
  if [ -n "$old" ]; then
    echo "cannot make $venv: $old has no ensurepip" >&2
    echo "Install it as root with: apt-get install python3-venv" >&2
  else
    echo "cannot make $venv: there is no Python 3.11 or newer${PYTHON:+ at $PYTHON}" >&2
    echo "Install it as root with: apt-get install python3 python3-venv  (or set PYTHON=/path/to/python3)" >&2
  fi
  return 1
}

if ! { [ -x "$venv/bin/python" ] && is_new_enough "$venv/bin/python" && "$venv/bin/python" -m pip --version >/dev/null 2>&1; }; then
  python=$(find_python)
  rm -rf "$venv"
  "$python" -m venv "$venv"
fi

echo "installing $lock into $venv" >&2
"$venv/bin/python" -m pip install -qq --disable-pip-version-check --require-hashes -r "$lock"
# A change of the entry points or of the version shows only after this one is made again.
"$venv/bin/python" -m pip install -qq --disable-pip-version-check --no-deps --no-build-isolation --editable .
# An editable install is not compiled; where the environment forbids to write bytecode, each command would do it anew.
"$venv/bin/python" -m compileall -q src
