//! What a restore came to.

use super::super::values::Transport;
use super::super::{all, words};
use super::PointRange;
use crate::base::error::ErrorInfo;
use crate::ops::restore;
use crate::repository::names::BackupId;
use serde::Serialize;
use time::OffsetDateTime;
use utoipa::ToSchema;

#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct RestoreReport {
    id: BackupId,
    /// URL of the Qdrant that was restored into.
    pub(crate) target: String,
    status: RestoreOutcome,
    #[serde(with = "time::serde::rfc3339")]
    started_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    finished_at: OffsetDateTime,
    pub(crate) collections: Vec<RestoredCollection>,
    pub(crate) failed: Vec<UnrestoredCollection>,
    /// What to send next for all that failed.
    pub(crate) next: Vec<String>,
    /// Aliases that were set or moved.
    pub(crate) aliases: Vec<String>,
    /// Collections that a swap left without their aliases: still there, and now to be deleted by hand.
    pub(crate) replaced: Vec<String>,
    pub(crate) warnings: Vec<String>,
}

words! {
    /// Whether all that was asked for is there, some of it, or nothing.
    RestoreOutcome, from restore::RestoreOutcome: Complete, Partial, Failed
}

#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct RestoredCollection {
    /// Its name in the backup.
    pub(crate) source: String,
    /// Its name on Qdrant.
    pub(crate) target: String,
    /// Count now.
    pub(crate) points: u64,
    /// Whether that, or the backup's, is Qdrant's estimate, because the collection refuses exact counts.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) points_estimated: bool,
    expected: PointRange,
    /// Points that were read with their vectors.
    sampled: usize,
    /// Bytes moved.
    pub(crate) bytes: u64,
    /// For moving and restoring them, without the checks before and after.
    seconds: f64,
    via: Transport,
    pub(crate) notes: Vec<String>,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct UnrestoredCollection {
    /// Its name in the backup.
    pub(crate) source: String,
    /// The name that it was to have on Qdrant.
    pub(crate) target: String,
    #[serde(flatten)]
    pub(crate) error: ErrorInfo,
    /// What Qdrant has under the target's name now.
    pub(crate) state: String,
    /// What to send next.
    next: String,
}

impl From<restore::RestoreReport> for RestoreReport {
    fn from(report: restore::RestoreReport) -> Self {
        Self {
            id: report.id,
            target: report.target,
            status: report.status.into(),
            started_at: report.started_at,
            finished_at: report.finished_at,
            collections: all(report.collections),
            failed: all(report.failed),
            next: report.next,
            aliases: report.aliases,
            replaced: report.replaced,
            warnings: report.warnings,
        }
    }
}

impl From<restore::Restored> for RestoredCollection {
    fn from(restored: restore::Restored) -> Self {
        Self {
            source: restored.source,
            target: restored.target,
            points: restored.points,
            points_estimated: restored.points_estimated,
            expected: restored.expected.into(),
            sampled: restored.sampled,
            bytes: restored.bytes,
            seconds: restored.seconds,
            via: restored.via.into(),
            notes: restored.notes,
        }
    }
}

impl From<restore::Failed> for UnrestoredCollection {
    fn from(failed: restore::Failed) -> Self {
        Self {
            source: failed.source,
            target: failed.target,
            error: failed.error,
            state: failed.state,
            next: failed.next,
        }
    }
}
