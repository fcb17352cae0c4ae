//! `GET /health` and `GET /status`.

use super::{BackupSummary, ErrorDetail, all, words};
use crate::ops::events::Operation;
use crate::ops::progress::{Phase, RunProgress, UnitProgress};
use crate::repository::names::BackupId;
use serde::Serialize;
use time::OffsetDateTime;
use utoipa::ToSchema;

#[derive(Debug, Serialize)]
pub(crate) struct HealthResponse {
    pub(crate) status: &'static str,
    pub(crate) version: &'static str,
}

/// The same shape whatever is wrong.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct StatusResponse {
    /// `ok`, or `degraded` when Qdrant or the store is not usable.
    pub(crate) status: &'static str,
    pub(crate) version: &'static str,
    pub(crate) qdrant: QdrantStatus,
    pub(crate) store: StoreStatus,
    /// The newest one whose time has come, whatever it is worth: its marks say that.
    pub(crate) last_backup: Option<BackupSummary>,
    /// What `latest` means.
    pub(crate) latest_good_backup: Option<BackupId>,
    /// Who works with the lease, here or elsewhere.
    pub(crate) running: Option<RunningRun>,
    /// Everything that this process is at, verifications included, which need no lease; the oldest first.
    pub(crate) operations: Vec<RunningOperation>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct QdrantStatus {
    pub(crate) ok: bool,
    pub(crate) url: String,
    pub(crate) version: Option<String>,
    pub(crate) error: Option<ErrorDetail>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct StoreStatus {
    pub(crate) ok: bool,
    pub(crate) url: String,
    pub(crate) error: Option<ErrorDetail>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RunningRun {
    pub(crate) who: String,
    #[serde(with = "time::serde::rfc3339")]
    pub(crate) since: OffsetDateTime,
    /// Known for a run in this process only.
    pub(crate) progress: Option<OperationProgress>,
    /// Known for a run in this process only.
    pub(crate) operation: Option<OperationKind>,
}

#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RunningOperation {
    pub(crate) operation: OperationKind,
    #[serde(with = "time::serde::rfc3339")]
    pub(crate) since: OffsetDateTime,
    pub(crate) progress: OperationProgress,
}

words! {
    /// What runs.
    OperationKind, from Operation: Backup, Restore, Drill, Prune, Verify
}

/// How far an operation is.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct OperationProgress {
    /// Of the backup that it is about, once that is known.
    id: Option<BackupId>,
    #[serde(with = "time::serde::rfc3339")]
    started_at: OffsetDateTime,
    /// In the order of their names; none, where the operation is about whole backups.
    collections: Vec<UnitPhase>,
}

#[derive(Debug, Serialize, ToSchema)]
struct UnitPhase {
    /// A whole collection by its name.
    name: String,
    phase: OperationPhase,
    /// Bytes that have passed in this attempt.
    bytes_done: u64,
    /// Known once the snapshot is made.
    bytes_total: Option<u64>,
}

words! {
    /// What is being done for a unit, see [`Phase`].
    OperationPhase, from Phase: Waiting, Snapshot, Copy, Read, Restore, Check, Verified, Restored, Saved, Failed, Gone
}

impl From<RunProgress> for OperationProgress {
    fn from(progress: RunProgress) -> Self {
        Self {
            id: progress.id,
            started_at: progress.started_at,
            collections: all(progress.units),
        }
    }
}

impl From<UnitProgress> for UnitPhase {
    fn from(unit: UnitProgress) -> Self {
        Self {
            name: unit.name,
            phase: unit.phase.into(),
            bytes_done: unit.bytes_done,
            bytes_total: unit.bytes_total,
        }
    }
}
