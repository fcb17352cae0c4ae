//! What every layer may use: errors, time, hashes, text.

pub mod clock;
pub mod error;
pub mod hash;
pub mod heavy;
pub mod json;
pub(crate) mod near;
pub mod patience;
pub mod pause;
pub(crate) mod process;
pub(crate) mod release;
pub mod shell;
pub mod snapshot;
pub mod text;
pub mod total;
pub(crate) mod when;
pub mod zone;
