#!/bin/sh -eu
# deploy.sh PROJECT USER RELEASE: makes a copy of app/ the live release of the project in the directory PROJECT.
# Run it as root: everything but the link `current` then belongs to USER.
project=$1 user=$2 release=releases/$3
here=$(dirname "$(readlink -f "$0")")

# what outlives a release
if [ ! -e "$project/shared/.env" ]; then
  mkdir -p "$project/shared" && cd "$project/shared"
  mkdir -p storage/app/outbox storage/logs storage/framework/cache/data storage/framework/views storage/framework/sessions
  touch database.sqlite
  (umask 077 && sed "s|^APP_KEY=.*|APP_KEY=base64:$(head -c 32 /dev/urandom | base64)|" "$here/app/.env.example" >.env)
  chown -R "$user:" .
fi

mkdir -p "$project/releases"
cp -R "$here/app" "$project/$release"
cd "$project/$release"
mkdir -p bootstrap/cache resources/views
ln -s ../../shared/.env .env
ln -s ../../shared/storage storage
ln -s ../../../shared/database.sqlite database/database.sqlite
chown -R "$user:" .
runuser -u "$user" -- php artisan migrate --force --quiet

# one atomic step: whoever follows the link sees the old release or the new one
cd "$project"
ln -s "$release" current.new
mv -T current.new current
