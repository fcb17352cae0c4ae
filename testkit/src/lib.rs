//! What the tests share: a [`Service`](service::Service) composed as in production, a [`Bench`](bench::Bench) for operations in the
//! test's own process, a [faulty store](faulty), a [scripted Qdrant](peer), and places with real ones.
#![allow(missing_docs, clippy::unwrap_used)]

pub mod bench;
pub mod bucket;
pub mod clock;
pub mod cluster;
pub mod faulty;
pub mod history;
pub mod job;
pub mod lab;
pub mod lost;
pub mod many;
pub mod peer;
pub mod place;
pub mod process;
pub mod proxy;
pub mod sample;
pub mod screen;
pub mod service;
pub mod source;
pub mod store;
pub mod tls;
