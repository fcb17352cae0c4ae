//! Backs up every collection of a Qdrant into a bucket: streamed through constant memory, checked byte by byte.
//!
//! Five layers, each of which uses those below it only: [`base`], [`wire`], [`repository`], [`ops`], then the faces [`cli`],
//! [`config`], [`server`] and [`telemetry`], which [`app`] puts together.

pub mod app;
pub mod base;
pub mod cli;
pub mod config;
pub mod ops;
pub mod repository;
pub mod server;
pub mod telemetry;
pub mod wire;
