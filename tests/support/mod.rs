//! What the end-to-end tests share.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, missing_docs)]

pub mod bucket;
pub mod lab;
pub mod peer;
pub mod place;
pub mod process;
pub mod run;
pub mod sample;
pub mod service;
pub mod twisted;
