//! The drill: a proof that a backup can be restored, without touching what is live.
