//! How far a run is: written by the run, read by the progress bars and by `GET /status`.

use super::events::Operation;
use crate::base::total::total;
use crate::repository::names::{BackupId, RunId};
use crate::repository::runs::{RunRequest, ToSave, UnitTotals};
use crate::repository::unit::Unit;
use serde::de::IntoDeserializer;
use serde::de::value::Error as NoPhase;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicU64, Ordering},
};
use time::OffsetDateTime;
use tokio_util::sync::CancellationToken;

/// What is being done for a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
    /// That of this word; none: a word of a later version.
    pub(crate) fn parse(word: &str) -> Option<Self> {
        Self::deserialize(IntoDeserializer::<NoPhase>::into_deserializer(word)).ok()
    }

    /// Whether nothing more is done for the unit.
    pub(crate) fn is_end(self) -> bool {
        match self {
            Self::Waiting | Self::Snapshot | Self::Copy | Self::Read | Self::Restore | Self::Check => false,
            Self::Verified | Self::Restored | Self::Saved | Self::Failed | Self::Gone => true,
        }
    }

    /// Whether something is being done for the unit.
    pub(crate) fn is_at_work(self) -> bool {
        self != Self::Waiting && !self.is_end()
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The word in the API, as serde writes it.
        self.serialize(f)
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
    /// Under which name a restore makes it, where that is another one.
    pub target: Option<String>,
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
    /// All of them together.
    pub totals: UnitTotals,
}

impl RunProgress {
    /// That of these units.
    pub fn new(id: Option<BackupId>, started_at: OffsetDateTime, units: Vec<UnitProgress>) -> Self {
        Self {
            id,
            started_at,
            totals: totals(&units),
            units,
        }
    }
}

fn totals(units: &[UnitProgress]) -> UnitTotals {
    let count = |of: fn(Phase) -> bool| units.iter().filter(|unit| of(unit.phase)).count();
    let done = |unit: &UnitProgress| match unit.phase {
        // Of what failed, only what has passed: the rest of it never will.
        Phase::Failed => unit.bytes_done.min(unit.bytes_total.unwrap_or(u64::MAX)),
        phase if phase.is_end() || phase == Phase::Check => unit.bytes_total.unwrap_or(unit.bytes_done),
        _ => unit.bytes_done.min(unit.bytes_total.unwrap_or(u64::MAX)),
    };
    let bytes_done = total(units.iter().map(done));
    let is_known = |unit: &UnitProgress| unit.bytes_total.is_some() || unit.phase.is_end();
    let all = |unit: &UnitProgress| unit.bytes_total.unwrap_or(unit.bytes_done);
    let bytes_total = (!units.is_empty() && units.iter().all(is_known)).then(|| total(units.iter().map(all)));
    let part_of = |unit: &UnitProgress| match unit.bytes_total {
        _ if unit.phase.is_end() => 1.0,
        Some(all) if all > 0 => done(unit) as f64 / all as f64,
        _ => 0.0,
    };
    let part = match bytes_total {
        Some(all) if all > 0 => bytes_done as f64 / all as f64,
        _ if units.is_empty() => 0.0,
        _ => units.iter().map(part_of).sum::<f64>() / units.len() as f64,
    };
    UnitTotals {
        units: units.len(),
        waiting: count(|phase| phase == Phase::Waiting),
        at_work: count(Phase::is_at_work),
        done: count(|phase| phase.is_end() && phase != Phase::Failed),
        failed: count(|phase| phase == Phase::Failed),
        bytes_done,
        bytes_total,
        part,
    }
}

/// Shared by a run and those who watch it. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Progress(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    /// Cancelled once it has begun.
    begun: CancellationToken,
    run: Option<(Operation, RunId)>,
    /// Of the run that has begun.
    holder: Option<Option<String>>,
    request: Option<RunRequest>,
    saves: Option<ToSave>,
    is_cancelled_on_request: bool,
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
    target: Option<String>,
}

impl Progress {
    /// The progress of a run that begins at `started_at`.
    pub fn new(started_at: OffsetDateTime) -> Self {
        Self(Arc::new(Mutex::new(State {
            begun: CancellationToken::new(),
            run: None,
            holder: None,
            request: None,
            saves: None,
            is_cancelled_on_request: false,
            id: None,
            started_at,
            units: Vec::new(),
        })))
    }

    pub fn now(&self) -> RunProgress {
        let state = self.lock();
        let units = state.units.iter().map(|e| UnitProgress {
            name: e.unit.to_string(),
            phase: e.phase,
            bytes_done: e.done.load(Ordering::Relaxed),
            bytes_total: e.total,
            target: e.target.clone(),
        });
        RunProgress::new(state.id, state.started_at, units.collect())
    }

    /// The id of the run, which is made when it is first asked for.
    pub(crate) fn run(&self, operation: Operation) -> RunId {
        let mut state = self.lock();
        match &state.run {
            Some((of, id)) if *of == operation => id.clone(),
            _ => {
                let id = RunId::new(state.started_at, &operation.to_string());
                state.run = Some((operation, id.clone()));
                id
            }
        }
    }

    /// The run begins, under this lease or without one.
    pub(crate) fn begins(&self, holder: Option<String>) {
        let mut state = self.lock();
        state.holder = Some(holder);
        state.begun.cancel();
    }

    /// Cancelled once the run has begun.
    pub(crate) fn begun(&self) -> CancellationToken {
        self.lock().begun.clone()
    }

    /// Under which lease the run works; `None` before it has begun.
    pub(crate) fn holder(&self) -> Option<Option<String>> {
        self.lock().holder.clone()
    }

    /// The request that begins the run may be sent again.
    pub(crate) fn begun_by(&self, request: RunRequest) {
        self.lock().request = Some(request);
    }

    /// The request that began it, where that may be sent again.
    pub(crate) fn request(&self) -> Option<RunRequest> {
        self.lock().request.clone()
    }

    /// It is a backup, and that is what it is to save.
    pub(crate) fn is_to_save(&self, what: ToSave) {
        self.lock().saves = Some(what);
    }

    /// What a backup is to save.
    pub(crate) fn saves(&self) -> Option<ToSave> {
        self.lock().saves.clone()
    }

    /// Somebody has asked for its end.
    pub(crate) fn cancel_on_request(&self) {
        self.lock().is_cancelled_on_request = true;
    }

    /// Whether somebody has asked for its end.
    pub(crate) fn is_cancelled_on_request(&self) -> bool {
        self.lock().is_cancelled_on_request
    }

    /// The run is about this backup, whatever comes of it.
    pub(crate) fn about(&self, id: BackupId) {
        self.lock().id = Some(id);
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
                target: None,
            })
            .collect();
    }

    /// A unit is restored under this name.
    pub(crate) fn target(&self, unit: &Unit, target: &str) {
        let target = (unit.collection != target).then(|| target.to_owned());
        self.with(unit, |e| e.target = target);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_unit_that_failed_only_what_has_passed_is_counted() {
        let unit = |phase, bytes_done, bytes_total| UnitProgress {
            name: "docs".into(),
            phase,
            bytes_done,
            bytes_total,
            target: None,
        };
        let units = [
            unit(Phase::Verified, 60, Some(60)),
            unit(Phase::Failed, 0, Some(40)),
            unit(Phase::Failed, 25, Some(100)),
            unit(Phase::Failed, 300, Some(200)),
        ];
        let totals = totals(&units);
        assert_eq!((totals.bytes_done, totals.bytes_total), (285, Some(400)));
        assert!((totals.part - 285.0 / 400.0).abs() < 1e-9, "{}", totals.part);
        assert_eq!((totals.done, totals.failed), (1, 3));
    }
}
