//! The wiring: the one place where configuration becomes clients, and where the system's clock and name come in.

use crate::backup::{Context, Settings};
use crate::clock::Clock;
use crate::config::{Config, Env, QdrantConfig, StoreConfig};
use crate::error::Result;
use crate::qdrant::{Options, Qdrant};
use crate::relay::{Limits, RateLimiter};
use crate::store::{self, GcsOptions, Store};
use crate::verify::Verifier;
use std::sync::Arc;
use std::time::Duration;

/// What the operations work with.
pub async fn context(config: &Config, who: String) -> Result<Context> {
    let limits = Limits::default();
    Ok(Context {
        qdrant: Qdrant::new(options(&config.qdrant))?,
        store: store(&config.store).await?,
        clock: clock(),
        who,
        settings: Settings {
            concurrency: config.backup.concurrency,
            attempts: 3,
            backoff: Duration::from_secs(2),
            limits: Limits {
                // The client for Qdrant gives a connection up first and continues with another one.
                idle: limits.idle.max(config.qdrant.idle * 2),
                ..limits
            },
            rate: config.backup.max_mbps.map(RateLimiter::megabytes_per_second).map(Arc::new),
            lease: config.backup.lease,
        },
    })
}

/// What verifying works with: no Qdrant.
pub fn verifier(store: Arc<dyn Store>, who: String) -> Verifier {
    Verifier {
        store,
        clock: clock(),
        who,
        concurrency: 4,
        attempts: 3,
        backoff: Duration::from_secs(1),
    }
}

/// A client that gives up soon: for looks at Qdrant that somebody waits for.
pub fn probe(config: &QdrantConfig) -> Result<Qdrant> {
    Qdrant::new(Options {
        idle: Duration::from_secs(5),
        request_timeout: Duration::from_secs(10),
        count_timeout: Duration::from_secs(10),
        retries: 1,
        ..options(config)
    })
}

/// The store, whichever kind its URL names.
pub async fn store(config: &StoreConfig) -> Result<Arc<dyn Store>> {
    install_crypto();
    let options = GcsOptions {
        endpoint: config.emulator.clone(),
        ..GcsOptions::default()
    };
    store::open(&config.url, options).await
}

/// The time of day.
pub fn clock() -> Clock {
    Clock::system()
}

/// Who this process is, for the lease and for messages: what Cloud Run or the host calls it, and the process id.
pub fn who(env: Env<'_>) -> String {
    let name = ["CLOUD_RUN_EXECUTION", "K_REVISION", "HOSTNAME"]
        .iter()
        .find_map(|name| env(name).filter(|value| !value.is_empty()))
        .or_else(|| std::fs::read_to_string("/proc/sys/kernel/hostname").ok())
        .unwrap_or_else(|| "unknown host".to_owned());
    format!("{}/{}", name.trim(), std::process::id())
}

fn options(config: &QdrantConfig) -> Options {
    install_crypto();
    Options {
        api_key: config.api_key.clone(),
        idle: config.idle,
        create_timeout: config.create_timeout,
        ..Options::new(config.url.clone())
    }
}

/// One cryptography for all clients: with two in the build, rustls takes none by itself.
fn install_crypto() {
    // An error says that it is there already.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}
