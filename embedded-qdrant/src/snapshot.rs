//! Snapshots of a collection: written, stored, unpacked, and opened without a node.

pub(crate) mod create;
mod log;
pub(crate) mod opened;
pub(crate) mod stored;
pub(crate) mod unpack;
