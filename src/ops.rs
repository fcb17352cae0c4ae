//! The operations on backups. They know no face and read no environment.

pub mod backup;
pub mod context;
pub mod drill;
pub mod events;
pub mod freshness;
pub(crate) mod journal;
pub mod metrics;
pub mod notify;
pub mod progress;
pub mod prune;
pub mod restore;
pub mod retention;
pub mod run;
pub mod source;
pub mod verify;
