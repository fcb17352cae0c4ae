//! Verify, through HTTP and on the command line, against backups in both stores with everything that can befall them.
#![allow(clippy::print_stdout, clippy::unwrap_used, missing_docs)]

mod engine;
mod matrix;
mod reads;
mod records;
mod stops;
#[path = "../support/mod.rs"]
mod support;

use qdrant_backup::clock::Clock;
use qdrant_backup::store::Store;
use qdrant_backup::verify::Verifier;
use std::sync::Arc;
use std::time::Duration;
use support::lab::Lab;
use support::service::Service;

fn verifier(store: Arc<dyn Store>) -> Verifier {
    Verifier {
        store,
        clock: Clock::system(),
        who: "test".into(),
        concurrency: 2,
        attempts: 2,
        backoff: Duration::from_millis(1),
    }
}

async fn service(lab: &Lab) -> Service {
    let env = lab.env();
    let env: Vec<_> = env.iter().map(|(k, v)| (*k, v.as_str())).collect();
    Service::start(&env).await
}
