//! Verify, through HTTP and on the command line, against backups in both stores with everything that can befall them.

mod engine;
mod matrix;
mod reads;
mod records;
mod stops;

use qdrant_backup::base::clock::Clock;
use qdrant_backup::ops::verify::Verifier;
use qdrant_backup::wire::store::Store;
use std::sync::Arc;
use std::time::Duration;
use testkit::lab::Lab;
use testkit::service::Service;

fn verifier(store: Arc<dyn Store>) -> Verifier {
    Verifier {
        store,
        clock: Clock::system(),
        who: "test".into(),
        concurrency: 2,
        attempts: 2,
        backoff: Duration::from_millis(1),
        notify: Default::default(),
    }
}

async fn service(lab: &Lab) -> Service {
    let env = lab.env();
    let env: Vec<_> = env.iter().map(|(k, v)| (*k, v.as_str())).collect();
    Service::start(&env).await
}
