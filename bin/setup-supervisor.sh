#!/usr/bin/env bash
# Sets up a background worker on Supervisor, straight from a checkout (also through a link to this file).
#
#   setup-supervisor.sh PROJECT queue|node|custom [--workers=N] ["COMMAND"]
set -euo pipefail
checkout=$(dirname "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")")
. "$checkout/scripts/checkout.sh"
run_from_checkout "$checkout" setup-supervisor "$@"
