#!/usr/bin/env bash
# Runs a command of qdrant-backup in the cluster, as a Job with the image, settings, key and volumes of the CronJob qdrant-backup: shows
# its output and ends with its exit code.
#
#   deploy/kubernetes/run.sh check --deep
#   deploy/kubernetes/run.sh restore latest articles --dry-run
#
# NAMESPACE is the one to run in, without it "qdrant". The Job is tried once, has no deadline, goes on when this script is stopped, and is
# deleted after a week.
set -euo pipefail

[ $# -gt 0 ] || { sed -n '2,9s/^# \{0,1\}//p' "$0" >&2; exit 2; }
k() { kubectl --namespace "${NAMESPACE:-qdrant}" "$@"; }

args=
for arg in "$@"; do
  arg=${arg//\\/\\\\}
  args+=,\"${arg//\"/\\\"}\"
done
patch='[
  {"op": "remove", "path": "/metadata/ownerReferences"},
  {"op": "remove", "path": "/spec/podFailurePolicy"},
  {"op": "remove", "path": "/spec/activeDeadlineSeconds"},
  {"op": "replace", "path": "/spec/backoffLimit", "value": 0},
  {"op": "add", "path": "/spec/ttlSecondsAfterFinished", "value": 604800},
  {"op": "replace", "path": "/spec/template/spec/containers/0/args", "value": ['${args#,}']}
]'
job=qdrant-backup-run-$(date -u +%Y%m%d-%H%M%S)
k create job "$job" --from=cronjob/qdrant-backup --dry-run=client --output=json |
  kubectl patch --local --filename=- --type=json --patch="$patch" --output=json |
  k create --filename=- >&2

# field PATH - of the Job's Pod; nothing while there is none.
field() { k get pods --selector="batch.kubernetes.io/job-name=$job" --output="jsonpath={.items[0]$1}" 2>/dev/null || true; }

ended() { [[ $(k get job "$job" --output='jsonpath={.status.conditions[*].type}') =~ Complete|Failed ]]; }

told=
until [[ $(field .status.phase) =~ Running|Succeeded|Failed ]] || ended; do
  if [ -z "$told" ] && [ $SECONDS -ge 30 ]; then
    told=yes
    echo "no Pod has started yet; why: kubectl --namespace ${NAMESPACE:-qdrant} describe job,pod --selector=batch.kubernetes.io/job-name=$job" >&2
  fi
  sleep 1
done
# A connection that breaks ends the output, not the Job.
k logs --follow "job/$job" || echo "no more output here; the Job goes on: kubectl --namespace ${NAMESPACE:-qdrant} logs --follow job/$job" >&2
until ended; do sleep 1; done
code=$(field '.status.containerStatuses[0].state.terminated.exitCode')
exit "${code:-1}"
