//! What proofs of a backup came to, recorded beside its manifest.

pub mod drilled;
pub mod verified;
