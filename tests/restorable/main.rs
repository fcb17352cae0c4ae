//! What is called a backup can be restored, and what is written can be read again.
#![allow(clippy::unwrap_used, missing_docs)]

#[path = "../support/mod.rs"]
mod support;

mod check;
mod custom_sharding;
mod limits;
mod older_backups;
