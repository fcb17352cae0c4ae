//! Pruning in both stores: what goes, what stays, and what a crash, a race or a refusal leaves.

mod crashes;
mod execution;
mod faces;
mod full;
mod leftovers;
mod named;
mod pins;
mod races;
