#!/usr/bin/env bash
# Tries an image before it is pushed: the service starts and answers /health, and `check` finds an (empty) Qdrant and a store in
# order. Read-only, and as the user that the image names.
#
#   .ci/smoke.sh IMAGE
#
# It needs Docker. PYTHON_IMAGE is the image that plays Qdrant and asks.
set -euo pipefail
cd "$(dirname "$0")"
image=$1
name=qdrant-backup-smoke-$$

trap 'docker rm --force "$name-qdrant" "$name-service" >/dev/null 2>&1 || true; docker network rm "$name" >/dev/null 2>&1 || true' EXIT
docker network create "$name" >/dev/null
docker create --name "$name-qdrant" --network "$name" "${PYTHON_IMAGE:-python:3-slim}" python3 /qdrant_stub.py 6333 >/dev/null
docker cp qdrant_stub.py "$name-qdrant:/qdrant_stub.py"
docker start "$name-qdrant" >/dev/null

settings=(--network "$name" --read-only --tmpfs /backups:mode=1777 --env "QDRANT_URL=http://$name-qdrant:6333" --env BACKUP_STORE=file:///backups)
# As on Cloud Run, which sets K_SERVICE.
docker run --detach --name "$name-service" "${settings[@]}" --env AUTH_MODE=iam --env K_SERVICE=smoke "$image" >/dev/null
docker exec "$name-qdrant" python3 -c '
import sys, time, urllib.request
for attempt in range(60):
    try:
        print("GET /health:", urllib.request.urlopen(sys.argv[1], timeout=5).status)
        break
    except OSError as error:
        last = error
        time.sleep(0.5)
else:
    sys.exit(f"GET /health: {last}")
' "http://$name-service:8080/health" || {
  docker logs "$name-service" >&2
  exit 1
}
docker run --rm "${settings[@]}" "$image" check
