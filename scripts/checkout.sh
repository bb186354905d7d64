# Sourced by bin/setup-*.sh: runs a console script of this checkout. Not a program of its own.
#
# Root does not run code that others can write, because whoever can write it would be root too: the
# checkout, its .venv, the interpreter behind it and every directory above them must be root's.

# first_open PATH…: the first of the paths, or of what lies below them, that somebody but root can write
first_open() {
  find "$@" ! -type l \( ! -uid 0 -o -perm /o=w -o \( -perm /g=w ! -gid 0 \) \) -print -quit
}

# parents PATH: the directories above a path, nearest last
parents() {
  local directory
  directory=$(dirname "$1")
  [ "$directory" = / ] || parents "$directory"
  echo "$directory"
}

# first_open_parent PATH: as first_open, for the directories above only. A sticky one (/tmp) is safe for what is root's.
first_open_parent() {
  local directory
  while IFS= read -r directory; do
    find "$directory" -maxdepth 0 \( ! -uid 0 -o \( ! -perm -1000 \( -perm /o=w -o \( -perm /g=w ! -gid 0 \) \) \) \) -print
  done < <(parents "$1") | head -n 1
}

# refuse_open_code CHECKOUT NAME
refuse_open_code() {
  local open interpreter
  interpreter=$(readlink -f "$1/.venv/bin/python")
  open=$(first_open_parent "$1")
  [ -n "$open" ] || open=$(first_open "$1" -maxdepth 0)
  [ -n "$open" ] || open=$(first_open "$1/bin" "$1/scripts" "$1/src" "$1/.venv")
  [ -n "$open" ] || open=$(first_open_parent "$interpreter")
  [ -n "$open" ] || open=$(first_open "$interpreter")
  [ -n "$open" ] || return 0
  echo "error: cannot run $2 as root: others can write $open" >&2
  echo "  Install a copy that only root can change, with \`make install\` in $1, and run $2." >&2
  exit 1
}

# run_from_checkout CHECKOUT NAME ARGUMENT…
run_from_checkout() {
  local checkout=$1 name=$2 python=$1/.venv/bin/python
  shift 2
  if [ ! -x "$python" ]; then
    echo "error: cannot run $name: $checkout has no .venv yet" >&2
    echo "  Run \`make venv\` in $checkout, or \`make install\` for a copy in /opt/shiftboss." >&2
    exit 1
  fi
  [ "$(id -u)" != 0 ] || refuse_open_code "$checkout" "$name"
  # -I: neither the current directory nor PYTHON* variables say what is imported
  exec "$python" -I -m shiftboss.cli.classic "$name" "$@"
}
