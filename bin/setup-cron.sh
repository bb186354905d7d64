#!/usr/bin/env bash
# Sets up the Laravel scheduler in cron, straight from a checkout (also through a link to this file).
#
#   setup-cron.sh PROJECT
set -euo pipefail
checkout=$(dirname "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")")
. "$checkout/scripts/checkout.sh"
run_from_checkout "$checkout" setup-cron "$@"
