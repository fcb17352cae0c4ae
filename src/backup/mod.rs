//! The backup operation: from a lease to a manifest.

mod artifact;
mod collection;

use crate::clock::Clock;
use crate::error::{Code, Error, Result};
use crate::intent;
use crate::lock;
use crate::manifest::{self, Failure, Manifest, Selection, Status};
use crate::names::BackupId;
use crate::plan::{self, Plan};
use crate::progress::{Phase, Progress};
use crate::qdrant::Qdrant;
use crate::relay::{Limits, RateLimiter};
use crate::store::Store;
use futures_util::TryStreamExt;
use serde::Serialize;
use std::sync::Arc;
use std::time::Duration;
use time::OffsetDateTime;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// What operations work with; made once by the wiring.
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
}

/// What can be tuned in a run.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Collections at once.
    pub concurrency: usize,
    /// Attempts at one artifact, when the failure may pass.
    pub attempts: u32,
    /// Pause before the second attempt; doubles with each further one.
    pub backoff: Duration,
    /// Deadlines of the relay.
    pub limits: Limits,
    /// Shared by all relays of this process.
    pub rate: Option<Arc<RateLimiter>>,
    /// How long the lease lasts without being renewed.
    pub lease: Duration,
}

/// What a run came to.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// The backup's id.
    pub id: BackupId,
    /// Whether everything asked for was saved.
    pub status: Outcome,
    /// Start of the run.
    #[serde(with = "time::serde::rfc3339")]
    pub started_at: OffsetDateTime,
    /// End of the run.
    #[serde(with = "time::serde::rfc3339")]
    pub finished_at: OffsetDateTime,
    /// Where the manifest is; none when nothing was saved.
    pub manifest: Option<String>,
    /// What was saved.
    pub collections: Vec<Saved>,
    /// What was not.
    pub failed: Vec<Failure>,
    /// What the reader should know.
    pub warnings: Vec<String>,
}

/// Whether everything asked for was saved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// All of it.
    Complete,
    /// Some of it.
    Partial,
    /// Nothing.
    Failed,
}

/// One saved collection.
#[derive(Clone, Debug, Serialize)]
pub struct Saved {
    /// Its name.
    pub name: String,
    /// Exact count after the snapshot was made.
    pub points: u64,
    /// Bytes stored.
    pub bytes: u64,
}

impl Report {
    /// The error that the run amounts to, if not everything was saved.
    pub fn error(&self) -> Option<Error> {
        let all = self.collections.len() + self.failed.len();
        let names: Vec<_> = self.failed.iter().map(|f| f.collection.as_str()).collect();
        let names = names.join(", ");
        match self.status {
            Outcome::Complete => None,
            Outcome::Partial => Some(
                Error::new(
                    Code::BackupPartial,
                    format!("backup {}: {} of {all} collections could not be saved: {names}", self.id, self.failed.len()),
                )
                .remedy("the others are saved and can be restored; mend the causes and run it again"),
            ),
            Outcome::Failed => Some(
                Error::new(Code::BackupFailed, format!("backup {}: nothing could be saved of: {names}", self.id))
                    .remedy("mend the causes and run it again; `qdrant-backup check` helps to find them"),
            ),
        }
    }
}
