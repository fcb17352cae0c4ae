//! The node, through its HTTP API and its library.
#![allow(clippy::unwrap_used)]

mod clusters;
mod collections;
mod refusals;
mod restores;
mod shards;
mod snapshots;
#[allow(dead_code)]
mod support;
