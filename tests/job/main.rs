//! One backup made by the tasks of a job: eight processes of the shipped binary, some killed and tried again, in both stores.
#![allow(clippy::unwrap_used, missing_docs)]

#[path = "../support/mod.rs"]
mod support;

mod bench;
mod crashes;
mod failures;
mod races;
mod records;
mod runs;
mod signals;
