#!/usr/bin/env bash
# Checks the units of deploy/systemd: that systemd takes every line of them, and that the services have few rights. It needs
# systemd-analyze (Debian: systemd) and no systemd that runs.
#
#   .ci/units.sh BINARY
set -euo pipefail
cd "$(dirname "$0")/.."
binary=$(realpath "$1")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp -r deploy/systemd/. "$work"
# systemd-analyze wants each executable to be there.
sed -i "s#/usr/local/bin/qdrant-backup#$binary#" "$work"/*.service

# It tells some things without failing.
systemd-analyze verify "$work"/*.service "$work"/*.timer 2>&1 | tee "$work/said"
[ ! -s "$work/said" ] || exit 1
for service in "$work"/*.service; do
  # On its scale from 0 to 100, where 100 is a service that may do everything.
  systemd-analyze security --offline=true --threshold=20 --no-pager "$service" | tail -n 1
done
