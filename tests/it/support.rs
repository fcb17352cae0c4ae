//! What the end-to-end tests share.

pub mod bucket;
pub mod lab;
pub mod peer;
pub mod place;
pub mod process;
pub mod run;
pub mod sample;
pub mod service;
pub mod twisted;
