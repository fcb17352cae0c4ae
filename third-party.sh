#!/bin/sh
# Prints the crates that are in the binary with their licences, and the texts of these, each once: for the image (Dockerfile).
# The texts are in the sources of the crates, which a build has fetched.
#
#   ./third-party.sh > THIRD-PARTY.txt
set -eu
cd "$(dirname "$0")"
sources=${CARGO_HOME:-$HOME/.cargo}/registry/src
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cargo tree --locked --package qdrant-backup --edges normal,no-proc-macro --prefix none --format '{p};{l}' >"$work/tree"
# The package itself has a path behind its version.
sed -n 's/ (\*)$//; s/^\([^ ]*\) v\([^ ;]*\);\(.*\)$/\1 \2 \3/p' "$work/tree" | sort -u >"$work/crates"
[ -s "$work/crates" ] || { echo "third-party.sh: cargo tree lists no crates" >&2; exit 1; }

# LICENSE, LICENCE-MIT, COPYING, NOTICE, also in the folder that some keep them in.
while read -r name version _; do
  find "$sources"/*/"$name-$version" -maxdepth 2 -type f \
    \( -iname 'licen[sc]e*' -o -iname 'copying*' -o -iname 'notice*' \) | sort | while read -r file; do
    sum=$(sha256sum <"$file")
    cp "$file" "$work/${sum%% *}.text"
    echo "$name $version: ${file##*/}" >>"$work/${sum%% *}.of"
  done
done <"$work/crates"

echo "qdrant-backup (Apache-2.0) has these crates in it. The texts of their licences follow."
echo
sed 's/^\([^ ]* [^ ]*\) /\1: /' "$work/crates"
for text in "$work"/*.text; do
  printf '\n%s\n' ------------------------------------------------------------------------------
  cat "${text%.text}.of"
  echo
  cat "$text"
done
