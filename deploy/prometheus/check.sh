#!/usr/bin/env bash
# Checks the alert rules, runs their tests, and checks the configuration that the documents show. Changes nothing.
#
#   deploy/prometheus/check.sh
#   deploy/prometheus/check.sh --promtool    prints the folder of promtool, and no more
#
# Without a promtool in the PATH, that of Debian's package `prometheus` is unpacked into target/prometheus-check, and nothing is installed.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cache=$root/target/prometheus-check

fail() {
  echo "deploy/prometheus/check.sh: $*" >&2
  exit 1
}

unpack() {
  command -v apt-get >/dev/null && command -v dpkg >/dev/null || return 1
  mkdir -p "$cache"
  [ "$(id -u)" != 0 ] || apt-get -qq update >&2 || true
  (cd "$cache" && rm -f ./*.deb && apt-get -qq download prometheus 2>/dev/null &&
    dpkg --fsys-tarfile prometheus_*.deb | tar -x ./usr/bin/promtool && rm -f ./*.deb) >&2
}

if command -v promtool >/dev/null; then
  folder=$(dirname "$(command -v promtool)")
else
  folder=$cache/usr/bin
  [ -x "$folder/promtool" ] || unpack || fail "there is no promtool, and Debian's package prometheus cannot be had"
fi
if [ "${1-}" = --promtool ]; then
  echo "$folder"
  exit
fi
export PATH=$folder:$PATH

cd "$root/deploy/prometheus"
promtool check rules --lint=all --lint-fatal alerts.yaml
promtool test rules alerts_test.yaml
# Each alert has a test.
while read -r alert; do
  grep -q "alertname: $alert$" alerts_test.yaml || fail "$alert has no test in which it fires"
done < <(sed -n 's/^ *- alert: //p' alerts.yaml)

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# The queries of the dashboard are queries: as rules, because those can be checked.
python3 - "$root/deploy/grafana/dashboard.json" >"$work/queries.yaml" <<'END'
import json, sys

dashboard = json.load(open(sys.argv[1]))
print("groups:\n- name: dashboard\n  rules:")
for panel in dashboard["panels"]:
    for target in panel["targets"]:
        # A variable stands for a regular expression.
        query = target["expr"].replace("$job", ".*").replace("$instance", ".*")
        print(f"  - record: panel{panel['id']}:{target['refId']}\n    expr: {json.dumps(query)}")
END
promtool check rules "$work/queries.yaml"

# What the documents show, with files in the places that they name.
for page in docs/how-to docs/zh-TW; do
  sed -n '/^```yaml prometheus$/,/^```$/p' "$root/$page/alert-with-prometheus.md" | grep -v '^```' >"$work/prometheus.yml" ||
    fail "$page/alert-with-prometheus.md shows no configuration"
  cp alerts.yaml "$work/qdrant-backup.yaml"
  : >"$work/token"
  sed -i "s|/etc/prometheus/|$work/|" "$work/prometheus.yml"
  promtool check config "$work/prometheus.yml"
done
