//! What is in the store: names, manifests, and the records of runs.

pub mod aliases;
pub(crate) mod blobs;
pub mod catalog;
pub mod intents;
pub(crate) mod jobs;
pub mod lease;
pub mod manifest;
pub mod names;
pub(crate) mod notified;
pub mod pins;
pub(crate) mod requests;
pub mod runs;
pub mod selection;
pub mod sharding;
pub(crate) mod since;
pub mod unit;
pub mod verdicts;
