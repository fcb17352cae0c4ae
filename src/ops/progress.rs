//! How far a run is: written by the run, read by the progress bars and by `GET /status`.

use crate::repository::names::BackupId;
use crate::repository::unit::Unit;
use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicU64, Ordering},
};
use time::OffsetDateTime;

/// What is being done for a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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

/// How far one unit is.
#[derive(Clone, Debug)]
pub struct UnitProgress {
    /// As people call it: a whole collection by its name.
    pub name: String,
    /// What is being done.
    pub phase: Phase,
    /// Bytes that have passed in this attempt.
    pub bytes_done: u64,
    /// Bytes to go in all, known once the snapshot is made.
    pub bytes_total: Option<u64>,
}

/// How far a run is, at one moment.
#[derive(Clone, Debug)]
pub struct RunProgress {
    /// The backup's id; none until the lease is held.
    pub id: Option<BackupId>,
    /// When the run began.
    pub started_at: OffsetDateTime,
    /// In the order of their names.
    pub units: Vec<UnitProgress>,
}

/// Shared by a run and those who watch it. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Progress(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    id: Option<BackupId>,
    started_at: OffsetDateTime,
    units: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    unit: Unit,
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
            units: Vec::new(),
        })))
    }

    pub fn now(&self) -> RunProgress {
        let state = self.lock();
        RunProgress {
            id: state.id,
            started_at: state.started_at,
            units: state
                .units
                .iter()
                .map(|e| UnitProgress {
                    name: e.unit.to_string(),
                    phase: e.phase,
                    bytes_done: e.done.load(Ordering::Relaxed),
                    bytes_total: e.total,
                })
                .collect(),
        }
    }

    /// The run has its id and its plan.
    pub(crate) fn planned(&self, id: BackupId, units: impl IntoIterator<Item = Unit>) {
        let mut state = self.lock();
        state.id = Some(id);
        state.units = units
            .into_iter()
            .map(|unit| Entry {
                unit,
                phase: Phase::Waiting,
                done: Arc::default(),
                total: None,
            })
            .collect();
    }

    /// A unit enters a phase.
    pub(crate) fn phase(&self, unit: &Unit, phase: Phase) {
        self.with(unit, |e| e.phase = phase);
    }

    /// The bytes of a unit begin to flow; the answer counts them.
    pub(crate) fn copying(&self, unit: &Unit, total: Option<u64>) -> Arc<AtomicU64> {
        let done = Arc::new(AtomicU64::new(0));
        self.with(unit, |e| {
            e.phase = Phase::Copy;
            e.total = total;
            e.done = done.clone();
        });
        done
    }

    fn with(&self, unit: &Unit, change: impl FnOnce(&mut Entry)) {
        if let Some(entry) = self.lock().units.iter_mut().find(|e| e.unit == *unit) {
            change(entry);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Every change leaves the state whole, so a panic elsewhere does not spoil it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
