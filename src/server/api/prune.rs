//! `POST /prune`.

mod plan;

pub(super) use plan::KeepReason;
pub(crate) use plan::PrunePlan;

use super::all;
use super::request::{self, RequestBody};
use crate::base::error::Result;
use crate::ops::prune;
use crate::repository::names::BackupId;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

const REMEDY: &str = "send {} to see what would be deleted, {\"dry_run\": false} to delete it";

/// No body, or `{}`, only plans: who wants something deleted has to say so.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct PruneRequest {
    /// Whether only the plan is wanted.
    #[schema(default = true)]
    pub(crate) dry_run: bool,
}

impl Default for PruneRequest {
    fn default() -> Self {
        Self { dry_run: true }
    }
}

impl RequestBody for PruneRequest {
    fn parse(body: &[u8]) -> Result<Self> {
        request::object(body, REMEDY)
    }
}

/// The plan, and what its execution came to.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct PruneResponse {
    pub(crate) dry_run: bool,
    pub(crate) plan: PrunePlan,
    /// Null after a dry run.
    pub(crate) report: Option<PruneReport>,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct PruneReport {
    /// How many backups and leftovers were to be deleted.
    planned: usize,
    /// Oldest first.
    pub(crate) deleted: Vec<DeletedBackup>,
    pub(crate) skipped: Vec<SkippedBackup>,
    /// Number of executions of jobs whose records were deleted.
    jobs: usize,
    pub(crate) warnings: Vec<String>,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct DeletedBackup {
    pub(crate) id: BackupId,
    /// How many were deleted.
    objects: usize,
    pub(crate) bytes: u64,
    /// How many were not; a later prune collects what is still there.
    pub(crate) left: usize,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct SkippedBackup {
    pub(crate) id: BackupId,
    pub(crate) why: String,
}

impl From<prune::PruneReport> for PruneReport {
    fn from(report: prune::PruneReport) -> Self {
        Self {
            planned: report.planned,
            deleted: all(report.deleted),
            skipped: all(report.skipped),
            jobs: report.jobs,
            warnings: report.warnings,
        }
    }
}

impl From<prune::Deleted> for DeletedBackup {
    fn from(deleted: prune::Deleted) -> Self {
        Self {
            id: deleted.id,
            objects: deleted.objects,
            bytes: deleted.bytes,
            left: deleted.left,
        }
    }
}

impl From<prune::Skipped> for SkippedBackup {
    fn from(skipped: prune::Skipped) -> Self {
        Self {
            id: skipped.id,
            why: skipped.why,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn dry_run(body: &str) -> Result<bool> {
        PruneRequest::parse(body.as_bytes()).map(|request| request.dry_run)
    }

    #[test]
    fn only_a_clear_request_deletes() {
        for (body, expected) in [
            ("", true),
            (" {} ", true),
            ("{\"dry_run\":true}", true),
            ("{\"dry_run\":false}", false),
        ] {
            assert_eq!(dry_run(body).unwrap(), expected, "{body}");
        }
        for wrong in [
            "[]",
            "[true]",
            "null",
            "true",
            "{",
            "{\"dryrun\":true}",
            "{\"dry_run\":1}",
            "{\"dry_run\":null}",
            "{\"dry_run\":true}x",
        ] {
            assert!(dry_run(wrong).is_err(), "{wrong}");
        }
    }
}
