//! What talks over the network or to a disk: Qdrant, the object store, and the bytes between them.

pub(crate) mod notify;
pub mod qdrant;
pub mod store;
pub mod transfer;
