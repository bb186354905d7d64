#!/usr/bin/env bash
# Installs a copy of this checkout that only root can change, or removes it again.
#
#   install.sh install|uninstall
#
#   /opt/shiftboss/releases/VERSION.N    one Python environment each, from the hash-pinned lock
#   /opt/shiftboss/current               the live one; changed by one atomic rename
#   /opt/shiftboss/installed             what we put elsewhere: links in /usr/local/bin, shell completions
#
# PREFIX=/usr/local   where links and completions go
# DESTDIR=/some/dir   puts everything below a directory and runs it from there: for trials and tests
# PYTHON=/usr/bin/python3  the interpreter of the copy; others must be able to run it, and only root to change it
#
# Installing again upgrades: the new copy is built beside the old one and takes its place only when it has
# answered `--version`; the old one stays until the next upgrade. Files of our names that are not ours are
# never touched. Needs .venv with pip and the build backend (`make install` sees to that).
set -euo pipefail
umask 022

checkout=$(dirname "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")")
destdir=${DESTDIR:+$(readlink -m "$DESTDIR")}
home=$destdir/opt/shiftboss
prefix=$destdir${PREFIX:-/usr/local}
record=$home/installed
programs=(shiftboss setup-supervisor setup-cron)

fail() {
  echo "error: $1" >&2
  [ -z "${2:-}" ] || echo "  $2" >&2
  exit 1
}

# --- what is ours

# target PROGRAM: where our link of that name leads
target() { echo "$home/current/bin/$1"; }

checksum() { sha256sum <"$1" | cut -d ' ' -f 1; }

# marks PATH [RECORD]: how we wrote it, as the record has it: checksums of a file, `link`, `directory`; nothing if it
# is not ours
marks() {
  local mark path
  [ -e "${2:-$record}" ] || return 0
  while read -r mark path; do [ "$path" != "$1" ] || echo "$mark"; done <"${2:-$record}"
}

# note_down MARK PATH: before it is written, so that an interrupted installation knows its own files
note_down() { echo "$1 $2" | tee -a "$record" >>"$record.new"; }

# completions SHELL PROGRAM: the completion file of a program, empty where the shell is not installed
completions() {
  case $1 in
    bash) if [ -d "$destdir/usr/share/bash-completion" ]; then echo "$prefix/share/bash-completion/completions/$2"; fi ;;
    zsh) if [ -d "$destdir/usr/share/zsh" ]; then echo "$prefix/share/zsh/site-functions/_$2"; fi ;;
    fish) if [ -d "$destdir/usr/share/fish" ]; then echo "$prefix/share/fish/vendor_completions.d/$2.fish"; fi ;;
  esac
}

# refuse_foreign PATH: ends the script if something that we did not write is there
refuse_foreign() {
  [ -e "$1" ] || [ -L "$1" ] || return 0
  [ -z "$(marks "$1")" ] || return 0
  fail "cannot install: $1 exists and is not ours" "Move it away, or set PREFIX to another directory, and run make install again."
}

refuse_foreign_files() {
  local program shell path
  if [ -d "$home" ] && [ ! -f "$record" ] && [ -n "$(ls -A "$home")" ]; then
    fail "cannot install: $home exists and is not ours" "Move it away and run make install again."
  fi
  for program in "${programs[@]}"; do
    refuse_foreign "$prefix/bin/$program"
    for shell in bash zsh fish; do
      path=$(completions $shell "$program")
      [ -z "$path" ] || refuse_foreign "$path"
    done
  done
}

# --- the interpreter

# closed_or_open PATH: the first directory above PATH that others cannot pass or can write, then PATH itself
closed_or_open() {
  local path=$1 unsafe
  unsafe=$([ "$path" = / ] || closed_or_open "$(dirname "$path")")
  if [ -z "$unsafe" ]; then
    unsafe=$(find "$path" -maxdepth 0 \( ! -uid 0 -o ! -perm -o=x -o -perm /o=w -o \( -perm /g=w ! -gid 0 \) \) -print)
  fi
  echo "$unsafe"
}

# why_not PYTHON: the reason why an interpreter will not do, empty if it does
why_not() {
  local path unsafe
  path=$(command -v "$1") || { echo "there is no $1"; return; }
  "$path" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { echo "$path is older than Python 3.11"; return; }
  "$path" -c 'import venv' 2>/dev/null || { echo "$path has no module venv"; return; }
  # a version manager puts a script before the real one
  path=$("$path" -c 'import os, sys; print(os.path.realpath(sys.executable))')
  [ "$(id -u)" = 0 ] || return 0
  unsafe=$(closed_or_open "$path")
  [ -z "$unsafe" ] || echo "$unsafe is closed to other users, or they can write it"
}

find_python() {
  local name why reasons=""
  for name in ${PYTHON:-/usr/bin/python3 /usr/local/bin/python3 python3 python3.13 python3.12 python3.11}; do
    why=$(why_not "$name")
    if [ -z "$why" ]; then
      "$name" -c 'import os, sys; print(os.path.realpath(sys.executable))'
      return
    fi
    reasons="$reasons${reasons:+; }$why"
  done
  fail "cannot install: no Python will do ($reasons)" "Install Debian's with: apt-get install python3"
}

# --- install

build() { # build DIRECTORY: a complete environment there
  local python pip=("$checkout/.venv/bin/python" -m pip --disable-pip-version-check -qq)
  python=$(find_python)
  "${pip[@]}" wheel --no-deps --no-build-isolation --wheel-dir "$scratch" "$checkout"
  "$python" -m venv --without-pip "$1"
  "${pip[@]}" --python "$1/bin/python" install --root-user-action ignore --require-hashes -r "$checkout/requirements/runtime.lock"
  "${pip[@]}" --python "$1/bin/python" install --root-user-action ignore --no-deps --no-index "$scratch"/shiftboss-*.whl
}

version() { sed -n 's/^VERSION = "\(.*\)"$/\1/p' "$checkout/src/shiftboss/version.py"; }

# answers PROGRAM: whether it says the version that we install
answers() { [ "$("$1" --version 2>/dev/null </dev/null)" = "shiftboss $(version)" ]; }

# switch_to RELEASE: makes it the live one, in one step
switch_to() {
  ln -sfn "releases/$1" "$home/current.new"
  mv -T "$home/current.new" "$home/current"
}

# put_directory PATH: makes it and what is missing above it
put_directory() {
  [ ! -d "$1" ] || return 0
  put_directory "$(dirname "$1")"
  note_down directory "$1"
  mkdir "$1"
}

# put_link PROGRAM
put_link() {
  put_directory "$prefix/bin"
  note_down link "$prefix/bin/$1"
  ln -sfn "$(target "$1")" "$prefix/bin/$1.new~"
  mv -T "$prefix/bin/$1.new~" "$prefix/bin/$1"
}

# put_completion SHELL PROGRAM
put_completion() {
  local path variable
  path=$(completions "$1" "$2")
  [ -n "$path" ] || return 0
  variable=_$(tr a-z- A-Z_ <<<"$2")_COMPLETE
  env "$variable=$1_source" "$(target "$2")" >"$scratch/completion" || fail "cannot write the $1 completion of $2"
  put_directory "$(dirname "$path")"
  note_down "$(checksum "$scratch/completion")" "$path"
  install -m 0644 "$scratch/completion" "$path"
}

install_copy() {
  local release old="" program shell number=1
  [ -d "$checkout/.venv" ] || fail "cannot install: $checkout has no .venv yet" "Run make install, which makes it."
  refuse_foreign_files
  mkdir -p "$home" 2>/dev/null || fail "cannot write $home" "Run make install as root (sudo make install)."
  [ -w "$home" ] || fail "cannot write $home" "Run make install as root (sudo make install)."
  exec 9<"$home"
  flock -n 9 || fail "cannot install: another installation is under way" "Wait for its end and run make install again."
  [ -f "$record" ] || : >"$record"

  while [ -e "$home/releases/$(version).$number" ]; do number=$((number + 1)); done
  release=$(version).$number
  unfinished=$home/releases/$release
  mkdir -p "$home/releases"
  echo "building $unfinished" >&2
  build "$unfinished"
  answers "$unfinished/bin/shiftboss" || fail "cannot install: the new copy does not answer --version" "The installed one, if any, was left as it was."

  [ ! -L "$home/current" ] || old=$(basename "$(readlink "$home/current")")
  switch_to "$release"
  if ! answers "$(target shiftboss)"; then
    if [ -n "$old" ]; then switch_to "$old"; else rm -f "$home/current"; fi
    fail "cannot install: the new copy does not answer --version in its place" "The installed one, if any, is back."
  fi
  unfinished=""

  grep '^directory ' "$record" >"$record.new" || true
  for program in "${programs[@]}"; do
    put_link "$program"
    for shell in bash zsh fish; do put_completion $shell "$program"; done
  done
  remove_recorded_but "$record.new"
  sort -u -o "$record" "$record.new"
  rm "$record.new"
  remove_releases_but "$release" "$old"
  echo "installed shiftboss $(version): $prefix/bin/{shiftboss,setup-supervisor,setup-cron} -> $home/current${old:+ (was $old)}"
  case :$PATH: in *":$prefix/bin:"*) ;; *) echo "note: $prefix/bin is not in your PATH" ;; esac
}

remove_releases_but() {
  local path name
  for path in "$home"/releases/*; do
    name=$(basename "$path")
    [ "$name" = "$1" ] || [ "$name" = "$2" ] || rm -rf "$path"
  done
}

# --- uninstall

# remove_ours PATH: removes what we wrote; what was changed since then, or a directory in use, is left
remove_ours() {
  local mark
  for mark in $(marks "$1" | sort -u); do
    case $mark in
      link) if [ "$(readlink "$1" || true)" = "$(target "$(basename "$1")")" ]; then rm "$1"; fi ;;
      directory) rmdir "$1" 2>/dev/null || true; return 0 ;;
      *) if [ -f "$1" ] && [ "$(checksum "$1")" = "$mark" ]; then rm "$1"; fi ;;
    esac
  done
  if [ -e "$1" ] || [ -L "$1" ]; then echo "note: $1 was changed since we wrote it and stays" >&2; fi
}

# recorded files|directories: the paths in the record, what is inside a directory before the directory
recorded() { awk -v kind="$1" '($1 == "directory") == (kind == "directories") { sub(/^[^ ]+ /, ""); print }' "$record" | sort -ru; }

# remove_recorded_but [FILE]: everything in the record that is not in FILE
remove_recorded_but() {
  local path
  while IFS= read -r path; do
    [ -n "$(marks "$path" "${1:-/dev/null}")" ] || remove_ours "$path"
  done < <(recorded files; recorded directories)
}

uninstall_copy() {
  if [ ! -f "$record" ]; then
    echo "nothing to remove: there is no $record"
    return
  fi
  [ -w "$home" ] || fail "cannot write $home" "Run make uninstall as root (sudo make uninstall)."
  remove_recorded_but
  rm -rf "$home/releases" "$home/current" "$home/current.new" "$record" "$record.new"
  rmdir "$home" 2>/dev/null || echo "note: $home is not empty and stays" >&2
  echo "removed shiftboss; what it set up (Supervisor programs, cron files, /etc/shiftboss) goes on and stays"
}

scratch=$(mktemp -d) unfinished=""
trap '[ -z "$unfinished" ] || rm -rf "$unfinished"; rm -rf "$scratch"' EXIT
trap 'exit 130' INT TERM
case ${1:-} in
  install) install_copy ;;
  uninstall) uninstall_copy ;;
  *) fail "usage: install.sh install|uninstall" ;;
esac
