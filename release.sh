#!/usr/bin/env bash
# Builds the archive of a release, for machines that run the binary without a container: the binary, its licences, the systemd
# units, the documents. Beside it SHA256SUMS.
#
#   ./release.sh [DIRECTORY]                                  into target/dist
#   TARGET=x86_64-unknown-linux-gnu ./release.sh              not static: for machines whose glibc is not older than this one's
#
# The default target is musl's: a static binary, which needs no library of the machine. It takes
# `rustup target add x86_64-unknown-linux-musl` and a C compiler for it (Debian: musl-tools).
set -euo pipefail
cd "$(dirname "$0")"
dist=${1:-target/dist}
target=${TARGET:-$(uname -m)-unknown-linux-musl}
built=${CARGO_TARGET_DIR:-target}/$target/release/qdrant-backup
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
name=qdrant-backup-$version-$target

cargo build --locked --release --bin qdrant-backup --target "$target"
if [[ $target == *-musl ]] && readelf --program-headers "$built" | grep -q INTERP; then
  echo "release.sh: $built is not static" >&2
  exit 1
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/$name" "$dist"
# As in the checkout, so that the documents' commands and links are the same.
cp -R LICENSE README.md README.zh-TW.md CHANGELOG.md .env.example docs deploy "$work/$name/"
install -m 0755 "$built" "$work/$name/qdrant-backup"
./third-party.sh >"$work/$name/THIRD-PARTY.txt"
# Where the binary runs on this machine.
if [[ $target == "$(uname -m)"-* ]]; then
  mkdir "$work/$name/man" "$work/$name/completions"
  "$built" man "$work/$name/man"
  for shell in bash fish zsh; do
    "$built" completions "$shell" >"$work/$name/completions/qdrant-backup.$shell"
  done
fi

# The same content is the same archive, whoever packs it and when.
tar --create --sort=name --owner=0 --group=0 --numeric-owner --mtime=@0 --mode=u=rwX,go=rX --directory "$work" "$name" |
  gzip --no-name >"$dist/$name.tar.gz"
(cd "$dist" && sha256sum "$name.tar.gz" | tee SHA256SUMS)
