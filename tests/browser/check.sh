#!/usr/bin/env bash
# Looks at the pages of the service in a real browser: Debian's chromium, steered by playwright-core, with axe-core for accessibility.
# The one without windows is taken where it can be had: no window of its own is drawn while a page is waited for.
# Each page is that of a fixture (examples/pages), in both languages, light and dark, on 390 and 1280 pixels; see check.mjs.
#
#   tests/browser/check.sh                 all checks; less than three minutes
#   tests/browser/check.sh --journeys      without looking at each page in each form
#   tests/browser/check.sh --pictures DIR  writes a picture of each page in each form instead
#   tests/browser/check.sh --docs          writes the pictures of docs/images anew instead
#   tests/browser/check.sh --install       installs what it needs, and fails where that cannot be had
#
# The packages of npm are kept in target/browser.
set -euo pipefail
cd "$(dirname "$0")/../.."
modules=$PWD/target/browser
pages=target/debug/examples/pages

browser() {
  command -v chromium-headless-shell || command -v chromium
}

install() {
  local lacking=()
  browser >/dev/null || lacking+=(chromium-headless-shell)
  command -v node >/dev/null || lacking+=(nodejs)
  command -v npm >/dev/null || lacking+=(npm)
  if [ ${#lacking[@]} -gt 0 ]; then
    command -v apt-get >/dev/null && [ "$(id -u)" = 0 ] || return 1
    apt-get -qq update || true
    export DEBIAN_FRONTEND=noninteractive
    apt-get -qq install -y --no-install-recommends "${lacking[@]}" >/dev/null ||
      apt-get -qq install -y --no-install-recommends "${lacking[@]/-headless-shell/}" >/dev/null || return 1
  fi
  cmp -s tests/browser/package.json "$modules/package.json" && return
  mkdir -p "$modules"
  cp tests/browser/package.json "$modules"
  (cd "$modules" && npm install --silent --ignore-scripts --no-audit --no-fund --no-package-lock) || { rm "$modules/package.json"; return 1; }
}

if ! install; then
  echo "tests/browser/check.sh: please install chromium-headless-shell or chromium, node and npm; the packages are those of tests/browser/package.json" >&2
  exit 1
fi
[ "${1-}" != --install ] || exit 0
# After `cargo test --workspace` it is there already.
cargo build --quiet --locked --workspace --example pages
export BROWSER_MODULES=$modules/ PAGES=$pages CHROMIUM=${CHROMIUM-$(browser)}
exec timeout "${BROWSER_TIMEOUT_SECS:-600}" node tests/browser/check.mjs "$@"
