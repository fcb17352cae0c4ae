//! How far a run is: written by the run, read by the progress bars and by `GET /status`.

use crate::repository::names::BackupId;
use serde::Serialize;
use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicU64, Ordering},
};
use time::OffsetDateTime;

/// What is being done for a collection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Not begun.
    Waiting,
    /// Qdrant makes the snapshot; how far it is cannot be asked.
    Snapshot,
    /// Bytes go between Qdrant and the store.
    Copy,
    /// Qdrant restores a snapshot; how far it is cannot be asked.
    Restore,
    /// What Qdrant has now is compared with the backup.
    Check,
    /// Restored and compared.
    Restored,
    /// Saved and checked.
    Saved,
    /// Given up.
    Failed,
    /// Deleted on Qdrant in mid-run.
    Gone,
}

/// How far one collection is.
#[derive(Clone, Debug, Serialize)]
pub struct CollectionProgress {
    /// Its name.
    pub name: String,
    /// What is being done.
    pub phase: Phase,
    /// Bytes that have passed in this attempt.
    pub bytes_done: u64,
    /// Bytes to go in all, known once the snapshot is made.
    pub bytes_total: Option<u64>,
}

/// How far a run is, at one moment.
#[derive(Clone, Debug, Serialize)]
pub struct RunProgress {
    /// The backup's id; none until the lease is held.
    pub id: Option<BackupId>,
    /// When the run began.
    #[serde(with = "time::serde::rfc3339")]
    pub started_at: OffsetDateTime,
    /// Its collections in the order of their names.
    pub collections: Vec<CollectionProgress>,
}

/// Shared by a run and those who watch it. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Progress(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    id: Option<BackupId>,
    started_at: OffsetDateTime,
    collections: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    name: String,
    phase: Phase,
    done: Arc<AtomicU64>,
    total: Option<u64>,
}

impl Progress {
    /// The progress of a run that begins at `started_at`.
    pub fn new(started_at: OffsetDateTime) -> Self {
        Self(Arc::new(Mutex::new(State {
            id: None,
            started_at,
            collections: Vec::new(),
        })))
    }

    /// The progress now.
    pub fn now(&self) -> RunProgress {
        let state = self.lock();
        RunProgress {
            id: state.id,
            started_at: state.started_at,
            collections: state
                .collections
                .iter()
                .map(|e| CollectionProgress {
                    name: e.name.clone(),
                    phase: e.phase,
                    bytes_done: e.done.load(Ordering::Relaxed),
                    bytes_total: e.total,
                })
                .collect(),
        }
    }

    /// The run has its id and its plan.
    pub(crate) fn planned<'a>(&self, id: BackupId, names: impl Iterator<Item = &'a str>) {
        let mut state = self.lock();
        state.id = Some(id);
        state.collections = names
            .map(|name| Entry {
                name: name.to_owned(),
                phase: Phase::Waiting,
                done: Arc::default(),
                total: None,
            })
            .collect();
    }

    /// A collection enters a phase.
    pub(crate) fn phase(&self, name: &str, phase: Phase) {
        self.with(name, |e| e.phase = phase);
    }

    /// The bytes of a collection begin to flow; the answer counts them.
    pub(crate) fn copying(&self, name: &str, total: u64) -> Arc<AtomicU64> {
        let done = Arc::new(AtomicU64::new(0));
        self.with(name, |e| {
            e.phase = Phase::Copy;
            e.total = Some(total);
            e.done = done.clone();
        });
        done
    }

    fn with(&self, name: &str, change: impl FnOnce(&mut Entry)) {
        if let Some(entry) = self.lock().collections.iter_mut().find(|e| e.name == name) {
            change(entry);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Every change leaves the state whole, so a panic elsewhere does not spoil it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
