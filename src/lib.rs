//! Backs up every collection of a Qdrant into a bucket: streamed through constant memory, checked byte by byte.
//!
//! Layers, leaf to face: [`error`], [`names`] → [`store`], [`qdrant`] → [`relay`], [`plan`], [`manifest`], [`lock`] →
//! [`backup`] → [`server`], [`cli`]. [`config`] and [`telemetry`] are used by `main` and the wiring only.

pub mod error;
pub mod relay;
pub mod store;
