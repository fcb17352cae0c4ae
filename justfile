# Everyday commands. `just` lists them.

_list:
    @just --list --unsorted

# All tests, or those whose name contains FILTER
test FILTER="":
    cargo test --workspace -- {{ FILTER }}

# Accept changed screens (tests/it/snapshots)
accept-screens:
    INSTA_UPDATE=always cargo test --workspace --test it -- screens

# Format and lints, also of what ships
lint:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets --locked -- -D warnings
    cargo clippy -p qdrant-backup --lib --bins --locked -- -D warnings

# Licences, sources, duplicate crates and known vulnerabilities (needs cargo-deny)
deny:
    cargo deny --locked check

# What reads archives, with coverage, for so many seconds (needs a nightly toolchain and cargo-fuzz)
fuzz SECONDS="600":
    cargo +nightly fuzz run --sanitizer none snapshot fuzz/corpus/snapshot tests/fixtures/shards -- -max_len=131072 -max_total_time={{ SECONDS }}

# The newcomer's first minute: a Qdrant, a backup, two restores
demo:
    cargo run --locked --example demo

# The relay beside curl, for snapshots of so many GiB
bench GIB="1,4":
    cargo run --release --locked -p relay-bench -- --gib {{ GIB }}

# The reference documents from the code
reference:
    UPDATE_REFERENCE=1 cargo test --workspace --test it -- reference

# Everything that has to pass before a change is merged
ci:
    .ci/run
