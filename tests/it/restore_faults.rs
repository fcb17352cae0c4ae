//! What a restore does when the store, Qdrant, or what lies between, misbehaves: each fault is caught, with its code and its
//! words, and nothing is claimed that is not true.

mod asked;
mod broken;
mod commands;
mod continued;
mod matrix;
mod proofs;
mod reads;
mod runs;
mod several;
mod uploaded;
mod without_lease;
