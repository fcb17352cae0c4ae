//! Every integration test, in one binary: it is linked once, and its tests run side by side.
#![allow(unreachable_pub, clippy::print_stdout, clippy::unwrap_used)]

mod auth;
mod bad_store;
mod cli;
mod concurrency;
mod config;
mod drill;
mod end_to_end;
mod env_example;
mod events;
mod faults;
mod freshness;
mod http;
mod http_backups;
mod http_fields;
mod http_runs;
mod job;
mod latest;
mod layers;
mod lease;
mod odd_manifests;
mod old_formats;
mod ours_and_theirs;
mod process;
mod prune;
mod restorable;
mod restore;
mod restore_by_url;
mod restore_faults;
mod retention;
mod rewind;
mod snapshot_structure;
mod sources;
mod store;
mod verify;
