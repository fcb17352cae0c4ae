//! How far a run is: written by the run, read by the progress bars and by `GET /status`.

use crate::base::total::total;
use crate::repository::names::BackupId;
use crate::repository::unit::Unit;
use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicU64, Ordering},
};
use time::OffsetDateTime;
use tokio_util::sync::CancellationToken;

/// What is being done for a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Not begun.
    Waiting,
    /// Qdrant makes the snapshot; how far it is cannot be asked.
    Snapshot,
    /// Bytes go between Qdrant and the store.
    Copy,
    /// The bytes of an object are read back and checked.
    Read,
    /// Qdrant restores a snapshot; how far it is cannot be asked.
    Restore,
    /// What Qdrant has now is compared with the backup.
    Check,
    /// Read back and found intact.
    Verified,
    /// Restored and compared.
    Restored,
    /// Saved and checked.
    Saved,
    /// Given up.
    Failed,
    /// Deleted on Qdrant in mid-run.
    Gone,
}

impl Phase {
    /// Whether nothing more is done for the unit.
    pub(crate) fn is_end(self) -> bool {
        match self {
            Self::Waiting | Self::Snapshot | Self::Copy | Self::Read | Self::Restore | Self::Check => false,
            Self::Verified | Self::Restored | Self::Saved | Self::Failed | Self::Gone => true,
        }
    }
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

/// All units together.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Overall {
    pub(crate) units: usize,
    /// That have ended, however.
    pub(crate) units_done: usize,
    pub(crate) bytes_done: u64,
    /// Once the length of each is known.
    pub(crate) bytes_total: Option<u64>,
    /// From 0 to 1: of the bytes, or where their number is unknown of the units.
    pub(crate) part: f64,
}

impl RunProgress {
    pub(crate) fn overall(&self) -> Overall {
        let done = |unit: &UnitProgress| match unit.phase {
            phase if phase.is_end() || phase == Phase::Check => unit.bytes_total.unwrap_or(unit.bytes_done),
            _ => unit.bytes_done.min(unit.bytes_total.unwrap_or(u64::MAX)),
        };
        let bytes_done = total(self.units.iter().map(done));
        let is_known = |unit: &UnitProgress| unit.bytes_total.is_some() || unit.phase.is_end();
        let bytes_total = (!self.units.is_empty() && self.units.iter().all(is_known)).then(|| {
            total(
                self.units
                    .iter()
                    .map(|unit| unit.bytes_total.unwrap_or(unit.bytes_done)),
            )
        });
        let part_of = |unit: &UnitProgress| match unit.bytes_total {
            _ if unit.phase.is_end() => 1.0,
            Some(all) if all > 0 => done(unit) as f64 / all as f64,
            _ => 0.0,
        };
        let part = match bytes_total {
            Some(all) if all > 0 => bytes_done as f64 / all as f64,
            _ if self.units.is_empty() => 0.0,
            _ => self.units.iter().map(part_of).sum::<f64>() / self.units.len() as f64,
        };
        Overall {
            units: self.units.len(),
            units_done: self.units.iter().filter(|unit| unit.phase.is_end()).count(),
            bytes_done,
            bytes_total,
            part,
        }
    }
}

/// Shared by a run and those who watch it. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Progress(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    /// Cancelled once the run holds its lease, or works without one.
    begun: CancellationToken,
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
            begun: CancellationToken::new(),
            id: None,
            started_at,
            units: Vec::new(),
        })))
    }

    /// The run holds its lease, or needs none: it works from now on.
    pub(crate) fn begins(&self) {
        self.lock().begun.cancel();
    }

    /// Cancelled once it does.
    pub(crate) fn begun(&self) -> CancellationToken {
        self.lock().begun.clone()
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
        self.planned_bytes(id, units.into_iter().map(|unit| (unit, None)));
    }

    /// The same, with the number of bytes of each unit where it is known.
    pub(crate) fn planned_bytes(&self, id: BackupId, units: impl IntoIterator<Item = (Unit, Option<u64>)>) {
        let mut state = self.lock();
        state.id = Some(id);
        state.units = units
            .into_iter()
            .map(|(unit, total)| Entry {
                unit,
                phase: Phase::Waiting,
                done: Arc::default(),
                total,
            })
            .collect();
    }

    /// A unit enters a phase.
    pub(crate) fn phase(&self, unit: &Unit, phase: Phase) {
        self.with(unit, |e| e.phase = phase);
    }

    /// The bytes of a unit begin to flow; the answer counts them.
    pub(crate) fn copying(&self, unit: &Unit, total: Option<u64>) -> Arc<AtomicU64> {
        self.flowing(unit, Phase::Copy, total)
    }

    /// The bytes of an object begin to be read back; the answer counts them.
    pub(crate) fn reading(&self, unit: &Unit, total: u64) -> Arc<AtomicU64> {
        self.flowing(unit, Phase::Read, Some(total))
    }

    fn flowing(&self, unit: &Unit, phase: Phase, total: Option<u64>) -> Arc<AtomicU64> {
        let done = Arc::new(AtomicU64::new(0));
        self.with(unit, |e| {
            e.phase = phase;
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
