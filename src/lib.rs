//! Backs up every collection of a Qdrant into a bucket: streamed through constant memory, checked byte by byte.
//!
//! Layers, leaf to face: [`error`], [`names`], [`clock`], [`hash`], [`pause`], [`patience`],
//! [`json`], [`sharding`], [`shell`], [`text`] → [`store`], [`qdrant`] → [`relay`], [`plan`],
//! [`manifest`], [`lock`], [`intent`], [`retention`] → [`catalog`] → [`backup`], [`drill`], [`events`], [`restore`] →
//! [`freshness`], [`pin`], [`prune`] → [`verify`] → [`server`], [`cli`]. [`config`] and [`telemetry`] are used by the wiring ([`app`]) only.

pub mod app;
pub mod backup;
pub mod catalog;
pub mod cli;
pub mod clock;
pub mod config;
pub mod drill;
pub mod error;
pub mod events;
pub mod freshness;
pub mod hash;
pub mod intent;
pub mod json;
pub mod lock;
pub mod manifest;
pub mod names;
pub mod patience;
pub mod pause;
pub mod pin;
pub mod plan;
pub mod progress;
pub mod prune;
pub mod qdrant;
pub mod relay;
pub mod restore;
pub mod retention;
pub mod server;
pub mod sharding;
pub mod shell;
pub mod store;
pub mod telemetry;
pub mod text;
pub mod verify;
