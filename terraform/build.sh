#!/usr/bin/env bash
# Builds the image by Cloud Build. Terraform runs it (apply.tf) before it makes service and jobs, if build.on_apply is set.
set -euo pipefail

command -v gcloud >/dev/null || {
  echo "build.on_apply needs gcloud on this machine. Install it and run gcloud auth login, or build elsewhere and set image." >&2
  exit 1
}
config=$SOURCE/cloudbuild.yaml
[ -f "$config" ] || {
  echo "build.on_apply has nothing to build: there is no cloudbuild.yaml in $SOURCE. Take the module by git:: with its whole repository, or say in build.source where that is." >&2
  exit 1
}
read -ra where <<<"$WHERE"
if [[ $WHERE == *--worker-pool=* ]]; then
  # A pool has machines of its own.
  config=$(mktemp)
  trap 'rm -f "$config"' EXIT
  grep -v '^  machineType:' "$SOURCE/cloudbuild.yaml" >"$config"
fi

# Grants that are a minute old are not known everywhere yet: what fails in the first two minutes is tried again.
for attempt in 1 2 3 4 5; do
  SECONDS=0
  gcloud builds submit "$SOURCE" --config="$config" --project="$PROJECT" --service-account="$SERVICE_ACCOUNT" \
    --gcs-source-staging-dir="$STAGING" --substitutions="$SUBSTITUTIONS" "${where[@]}" && exit 0
  ((SECONDS < 120 && attempt < 5)) || exit 1
  sleep "${PAUSE:-60}"
done
