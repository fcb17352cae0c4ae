//! What operations work with; made once by the wiring.

use super::events::Operation;
use super::notify::{Follow, Notifier};
use super::progress::Progress;
use crate::base::clock::Clock;
use crate::repository::unit::SnapshotMode;
use crate::wire::qdrant::Qdrant;
use crate::wire::store::Store;
use crate::wire::transfer::{Limits, RateLimiter};
use std::sync::Arc;
use std::time::Duration;

/// What an operation on a Qdrant and the store works with.
#[derive(Clone, Debug)]
pub struct Context {
    /// The Qdrant to back up.
    pub qdrant: Qdrant,
    /// Where backups are kept.
    pub store: Arc<dyn Store>,
    /// The time of day.
    pub clock: Clock,
    /// Who runs this, for the lease and for messages, e.g. `host/1234`.
    pub who: String,
    /// Everything that can be tuned.
    pub settings: Settings,
    /// Tells how runs end.
    pub notify: Notifier,
}

/// What an operation on the store alone works with.
#[derive(Clone, Debug)]
pub struct StoreContext {
    /// Where backups are kept.
    pub store: Arc<dyn Store>,
    /// The time of day.
    pub clock: Clock,
    /// Who runs this, for the lease and for messages, e.g. `host/1234`.
    pub who: String,
    /// How long the lease lasts without being renewed.
    pub lease: Duration,
    /// Tells how runs end.
    pub notify: Notifier,
}

impl StoreContext {
    /// Follows a run to its end, which is then told.
    pub(crate) fn follow(&self, operation: Operation, progress: &Progress) -> Follow {
        Follow::run(&self.notify, &self.store, &self.clock, operation, progress)
    }
}

/// What can be tuned in a run.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Collections saved at once.
    pub concurrency: usize,
    /// Collections restored at once.
    pub restore_concurrency: usize,
    /// Attempts at one artifact, when the failure may pass.
    pub attempts: u32,
    /// Pause before the second attempt; doubles with each further one.
    pub backoff: Duration,
    /// How the bytes leave Qdrant.
    pub mode: SnapshotMode,
    /// How long a shard is waited for that Qdrant optimizes.
    pub settle: Duration,
    /// Whether, and for how long, nothing is begun while Qdrant is busy.
    pub guard: Option<LoadGuard>,
    /// Deadlines of a transfer.
    pub limits: Limits,
    /// Shared by all transfers of this process.
    pub rate: Option<Arc<RateLimiter>>,
    /// How long the lease lasts without being renewed.
    pub lease: Duration,
    /// Which Qdrant the store is for.
    pub source: SourceSettings,
}

/// When a backup waits because Qdrant is busy.
#[derive(Clone, Debug, PartialEq)]
pub struct LoadGuard {
    /// `BACKUP_MAX_LATENCY_FACTOR`: a node is busy that takes so many times as long to answer as before the run.
    pub factor: f64,
    /// How long a run waits in all while it has nothing else under way; then it goes on.
    pub patience: Duration,
    /// Between two looks.
    pub pause: Duration,
}

impl LoadGuard {
    pub fn new(factor: f64) -> Self {
        Self {
            factor,
            patience: Duration::from_secs(600),
            pause: Duration::from_secs(5),
        }
    }
}

/// Which Qdrant the store is for.
#[derive(Clone, Debug, Default)]
pub struct SourceSettings {
    /// `BACKUP_SOURCE_NAME`: the operator's name for the Qdrant that is backed up.
    pub name: Option<String>,
    /// Whether it may be one of which the store has no backup, but some of others.
    pub accept_new: bool,
    /// Whether [`Context::qdrant`] is another one than that which is backed up.
    pub elsewhere: bool,
}

impl Context {
    /// The part of it that concerns the store.
    pub fn on_store(&self) -> StoreContext {
        StoreContext {
            store: self.store.clone(),
            clock: self.clock.clone(),
            who: self.who.clone(),
            lease: self.settings.lease,
            notify: self.notify.clone(),
        }
    }
}
