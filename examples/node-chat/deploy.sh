#!/bin/sh -eu
# deploy.sh PROJECT USER RELEASE: makes a copy of app/ the live release of the project in the directory PROJECT.
# Run it as root: everything but the link `current` then belongs to USER.
project=$1 user=$2 release=releases/$3
here=$(dirname "$(readlink -f "$0")")

mkdir -p "$project/releases"
cp -R "$here/app" "$project/$release"
cd "$project/$release"
npm ci --no-audit --no-fund --silent
chown -R "$user:" .

# one atomic step: whoever follows the link sees the old release or the new one
cd "$project"
ln -s "$release" current.new
mv -T current.new current
