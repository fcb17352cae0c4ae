//! The operations on backups. They know no face and read no environment.

pub mod backup;
pub mod drill;
pub mod events;
pub mod freshness;
pub mod plan;
pub mod progress;
pub mod prune;
pub mod restore;
pub mod retention;
pub mod verify;
