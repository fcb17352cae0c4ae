#!/usr/bin/env bash
# Holds a running service against its own description: schemathesis sends what openapi/v1.json allows and what it does not, and each
# answer has to be one that is described, and no 5xx. Against a node over Qdrant's engine and a directory, both thrown away.
#
#   .ci/schemathesis.sh SCHEMATHESIS
#
# It needs the debug binaries qdrant-backup and embedded-qdrant, which the tests build, and takes less than two minutes.
set -euo pipefail
cd "$(dirname "$0")/.."
schemathesis=$1
dir=$(mktemp -d)
pids=()
trap 'kill "${pids[@]}" 2>/dev/null || true; wait; rm -rf "$dir"' EXIT

# Waits for a line of a file, and prints the address in it.
address() {
  for _ in $(seq 300); do
    # The first one: the line of the service goes on with that of its Qdrant.
    if address=$(grep -om1 'http://127.0.0.1:[0-9]*' "$1"); then
      head -n 1 <<<"$address"
      return
    fi
    sleep 0.1
  done
  cat "$1" >&2
  return 1
}

target/debug/embedded-qdrant --listen 127.0.0.1:0 --data "$dir/qdrant" >"$dir/node" 2>&1 &
pids+=($!)
qdrant=$(address "$dir/node")
curl -fsS -X PUT "$qdrant/collections/articles" -H 'Content-Type: application/json' \
  -d '{"vectors": {"size": 4, "distance": "Dot"}}' >/dev/null
mkdir "$dir/store"
env -i QDRANT_URL="$qdrant" BACKUP_STORE="file://$dir/store" LISTEN=127.0.0.1:0 RETAIN_LAST=3 \
  target/debug/qdrant-backup serve >"$dir/service" 2>&1 &
pids+=($!)
service=$(address "$dir/service")
curl -fsS -X POST "$service/v1/backups?wait=true" >/dev/null

# `wait=true` answers with the error of the operation itself, which may be a 5xx and is tested elsewhere.
cat >"$dir/hooks.py" <<'HOOKS'
import schemathesis


@schemathesis.hook
def filter_query(context, query):
    return "wait" not in (query or {}) or query["wait"] not in (True, "true")
HOOKS
checks=not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance
checks+=,response_schema_conformance,negative_data_rejection,unsupported_method,allow_header_conformance
cd "$dir"
SCHEMATHESIS_HOOKS=hooks PYTHONPATH=$dir timeout 150 "$schemathesis" run "$service/v1/openapi.json" --checks "$checks" \
  --phases examples,coverage,fuzzing --max-examples 25 --max-time 90 --request-timeout 30 --seed 1 --no-color --warnings off
