//! Backs up every collection of a Qdrant into a bucket: streamed through constant memory, checked byte by byte.
//!
//! Layers, leaf to face: [`error`], [`names`], [`clock`], [`hash`] → [`store`], [`qdrant`] → [`relay`], [`plan`],
//! [`manifest`], [`lock`], [`intent`] → [`backup`], [`catalog`] → [`server`], [`cli`]. [`config`] and [`telemetry`] are used
//! by the wiring ([`app`]) only.

pub mod clock;
pub mod error;
pub mod hash;
pub mod manifest;
pub mod names;
pub mod progress;
pub mod store;
