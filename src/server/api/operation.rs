//! Operations as resources: `/v1/operations`, and what begins them.

mod shown;

use super::request::{self, RequestBody};
use super::status::{OperationKind, OperationPhase};
use super::{ErrorDetail, PlanOfError, ReportOfError, words};
use crate::base::error::Result;
use crate::ops::progress::Phase;
use crate::repository::names::{BackupId, RunId};
use crate::repository::runs::{RunRecord, RunState, UnitRecord};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use time::OffsetDateTime;
use utoipa::{IntoParams, ToSchema};

/// Of a request that begins an operation.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct WaitQuery {
    /// Whether to answer when the operation has ended: 200, or its error.
    #[serde(default)]
    pub(crate) wait: bool,
}

/// Of a request that deletes one backup. No query only plans: who wants something deleted has to say so.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct DeleteQuery {
    /// Whether only the plan is wanted.
    #[serde(default = "only_planned")]
    #[param(default = true)]
    pub(crate) dry_run: bool,
    /// Whether to answer when the operation has ended: 200, or its error.
    #[serde(default)]
    pub(crate) wait: bool,
}

fn only_planned() -> bool {
    true
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct OperationsQuery {
    /// 20 by default.
    #[param(minimum = 1, maximum = 100)]
    pub(crate) limit: Option<u16>,
}

/// Which backup is to be read back.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct VerificationRequest {
    /// Of the backup, or `latest`.
    pub(crate) id: String,
}

impl RequestBody for VerificationRequest {
    fn parse(body: &[u8]) -> Result<Self> {
        request::required(body, "send {\"id\": \"latest\"}, or the id of a backup")
    }
}

/// There is nothing to say.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CancelRequest {}

impl RequestBody for CancelRequest {
    fn parse(body: &[u8]) -> Result<Self> {
        request::object(body, "send no body, or {}")
    }
}

/// What would be done, where `dry_run` was asked for.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DryRun {
    pub(crate) dry_run: bool,
    pub(crate) plan: PlanOfError,
}

/// What a request with `wait=true` or `dry_run` is answered.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum DoneOrPlanned {
    Done(Box<Operation>),
    Planned(DryRun),
}

/// Newest first.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct OperationsResponse {
    pub(crate) operations: Vec<Operation>,
    /// Why only those of this process are listed.
    pub(crate) store_error: Option<ErrorDetail>,
}

/// A backup, restore, drill, prune or verification: how far it is, or what it came to.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct Operation {
    id: RunId,
    kind: OperationKind,
    state: OperationState,
    /// Whether this process does it, or did. Only here it can be cancelled.
    here: bool,
    /// The process.
    who: String,
    #[serde(with = "time::serde::rfc3339")]
    started_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339::option")]
    ended_at: Option<OffsetDateTime>,
    /// Of what is being done now; null before the plan is made, and where an operation is about a backup as a whole.
    phase: Option<OperationPhase>,
    /// Seconds since its process last told of it; null once it has ended.
    heartbeat_age_seconds: Option<u64>,
    /// The backup that it is about, once that is known.
    backup_id: Option<BackupId>,
    progress: OperationCounts,
    /// At most 200: what is at work and what failed goes first. Only where one operation is asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    units: Option<Vec<OperationUnit>>,
    /// Why it did not come to what was asked for.
    error: Option<ErrorDetail>,
    /// What it came to: known for a while to the process that did it.
    #[serde(skip_serializing_if = "Option::is_none")]
    report: Option<ReportOfError>,
    /// Of a backup that has ended well: whether it is not good before a drill has proven it, because Qdrant optimized while it was
    /// saved.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    unproven: bool,
    /// Whether an earlier request with the same key began it, and this one did nothing.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    repeated: bool,
}

/// What becomes of an operation; `interrupted`: its process ended without a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum OperationState {
    Running,
    Succeeded,
    Failed,
    Cancelled,
    Interrupted,
}

words! {
    /// What a record says.
    RecordedState, from RunState: Running, Succeeded, Failed, Cancelled
}

impl From<RecordedState> for OperationState {
    fn from(state: RecordedState) -> Self {
        match state {
            RecordedState::Running => Self::Running,
            RecordedState::Succeeded => Self::Succeeded,
            RecordedState::Failed => Self::Failed,
            RecordedState::Cancelled => Self::Cancelled,
        }
    }
}

/// Units are collections, or their shards.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct OperationCounts {
    pub(crate) units: usize,
    pub(crate) waiting: usize,
    pub(crate) at_work: usize,
    pub(crate) done: usize,
    pub(crate) failed: usize,
    /// Bytes that have passed.
    pub(crate) bytes_done: u64,
    /// Known once the length of each unit is.
    pub(crate) bytes_total: Option<u64>,
    /// From 0 to 1: of the bytes, or where their number is unknown of the units.
    pub(crate) part: f64,
    /// On average since the start.
    pub(crate) bytes_per_second: Option<u64>,
    /// Seconds until all bytes have passed at that rate.
    pub(crate) eta_seconds: Option<u64>,
}

/// How far a collection or shard is.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct OperationUnit {
    pub(crate) name: String,
    /// Null: a word of a later version.
    pub(crate) phase: Option<OperationPhase>,
    pub(crate) bytes_done: u64,
    pub(crate) bytes_total: Option<u64>,
    /// Under which name a restore makes it, where that is another one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) target: Option<String>,
}

impl Operation {
    /// What a record tells. `silent`: since it was written; `None`: it is what is now.
    pub(crate) fn new(record: RunRecord, kind: OperationKind, silent: Option<Duration>) -> Self {
        let is_running = record.state == RunState::Running;
        let mut phases = record.units.iter().filter_map(|unit| Phase::parse(&unit.phase));
        let waiting = || (record.totals.waiting > 0).then_some(Phase::Waiting);
        let phase = phases.find(|phase| phase.is_at_work()).or_else(waiting);
        let units = record.units.into_iter().map(Into::into).collect();
        Self {
            id: record.id,
            kind,
            state: RecordedState::from(record.state).into(),
            here: silent.is_none(),
            who: record.who,
            started_at: record.started_at,
            ended_at: record.ended_at,
            phase: phase.filter(|_| is_running).map(Into::into),
            heartbeat_age_seconds: is_running.then(|| silent.unwrap_or_default().as_secs()),
            backup_id: record.backup,
            progress: OperationCounts {
                units: record.totals.units,
                waiting: record.totals.waiting,
                at_work: record.totals.at_work,
                done: record.totals.done,
                failed: record.totals.failed,
                bytes_done: record.totals.bytes_done,
                bytes_total: record.totals.bytes_total,
                part: record.totals.part,
                bytes_per_second: None,
                eta_seconds: None,
            },
            units: Some(units),
            error: record.error,
            report: None,
            unproven: record.unproven,
            repeated: false,
        }
    }

    /// Adds the rate at which bytes have passed until `now`, and when the rest will have if it still works.
    pub(crate) fn at_rate_of(mut self, now: OffsetDateTime) -> Self {
        let until = self.ended_at.unwrap_or(now);
        let took = Duration::try_from(until - self.started_at)
            .unwrap_or_default()
            .as_secs();
        let counts = &mut self.progress;
        let rate = counts.bytes_done.checked_div(took).filter(|rate| *rate > 0);
        let left = counts.bytes_total.map(|total| total.saturating_sub(counts.bytes_done));
        counts.bytes_per_second = rate;
        counts.eta_seconds = match (self.state, left, rate) {
            (OperationState::Running, Some(left), Some(rate)) => Some(left.div_ceil(rate)),
            _ => None,
        };
        self
    }

    /// Says that its process has died.
    pub(crate) fn interrupted(mut self, why: ErrorDetail) -> Self {
        self.state = OperationState::Interrupted;
        self.phase = None;
        self.error = Some(why);
        self
    }

    pub(crate) fn with_report(mut self, report: Option<ReportOfError>) -> Self {
        self.report = report;
        self
    }

    pub(crate) fn without_units(mut self) -> Self {
        self.units = None;
        self
    }

    pub(crate) fn repeated(mut self) -> Self {
        self.repeated = true;
        self
    }

    pub(crate) fn who(&self) -> &str {
        &self.who
    }

    pub(crate) fn id(&self) -> &RunId {
        &self.id
    }

    pub(crate) fn is_interrupted(&self) -> bool {
        self.state == OperationState::Interrupted
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.state != OperationState::Running
    }
}

impl From<UnitRecord> for OperationUnit {
    fn from(unit: UnitRecord) -> Self {
        Self {
            name: unit.name,
            phase: Phase::parse(&unit.phase).map(Into::into),
            bytes_done: unit.bytes_done,
            bytes_total: unit.bytes_total,
            target: unit.target,
        }
    }
}
