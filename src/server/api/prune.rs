//! `POST /prune`.

use super::request::{self, RequestBody};
use super::values::BackupMark;
use super::{all, words};
use crate::base::error::Result;
use crate::ops::{prune, retention};
use crate::repository::names::BackupId;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

const REMEDY: &str = "send {} to delete by the policy, {\"dry_run\": true} to see what would be deleted";

/// No body, or `{}`, deletes: who calls this has said so.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct PruneRequest {
    pub(crate) dry_run: bool,
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

#[derive(Clone, Debug, Serialize)]
pub(crate) struct PrunePlan {
    #[serde(with = "time::serde::rfc3339")]
    made_at: OffsetDateTime,
    policy: RetentionPolicy,
    /// The backups, and what unfinished or half deleted ones left; newest first.
    items: Vec<PrunePlanItem>,
    /// Records of executions of jobs that nobody needs any more; they are deleted, too.
    jobs: Vec<JobRecords>,
    /// Keys among the backups that are not ours; nothing of it is touched.
    foreign: Vec<String>,
}

/// How many of each a series keeps; 0: the rule is off.
#[derive(Clone, Debug, Serialize)]
struct RetentionPolicy {
    last: u32,
    hourly: u32,
    daily: u32,
    weekly: u32,
    monthly: u32,
    yearly: u32,
    /// Nothing younger is deleted.
    min_age_seconds: u64,
}

#[derive(Clone, Debug, Serialize)]
struct PrunePlanItem {
    id: BackupId,
    /// False: it has no manifest.
    is_backup: bool,
    keep: bool,
    /// Why it stays.
    reasons: Vec<KeepReason>,
    marks: Vec<BackupMark>,
    /// What it is a backup of; each series is thinned out by itself.
    series: String,
    objects: usize,
    bytes: u64,
}

words! {
    /// Why a backup stays, see [`retention::Reason`].
    KeepReason, from retention::Reason:
        Pinned, TooYoung, InFuture, NotUnderstood, NewestGood, NothingBetter, Last, Hourly, Daily, Weekly, Monthly, Yearly
}

#[derive(Clone, Debug, Serialize)]
struct JobRecords {
    execution: String,
    objects: usize,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct PruneReport {
    /// How many backups and leftovers were to be deleted.
    planned: usize,
    /// Oldest first.
    deleted: Vec<DeletedBackup>,
    skipped: Vec<SkippedBackup>,
    /// Number of executions of jobs whose records were deleted.
    jobs: usize,
    warnings: Vec<String>,
}

#[derive(Clone, Debug, Serialize)]
struct DeletedBackup {
    id: BackupId,
    /// How many were deleted.
    objects: usize,
    bytes: u64,
    /// How many were not; a later prune collects what is still there.
    left: usize,
}

#[derive(Clone, Debug, Serialize)]
struct SkippedBackup {
    id: BackupId,
    why: String,
}

impl From<prune::Plan> for PrunePlan {
    fn from(plan: prune::Plan) -> Self {
        Self {
            made_at: plan.made_at,
            policy: plan.policy.into(),
            items: all(plan.items),
            jobs: all(plan.jobs),
            foreign: plan.foreign,
        }
    }
}

impl From<retention::Policy> for RetentionPolicy {
    fn from(policy: retention::Policy) -> Self {
        Self {
            last: policy.last,
            hourly: policy.hourly,
            daily: policy.daily,
            weekly: policy.weekly,
            monthly: policy.monthly,
            yearly: policy.yearly,
            min_age_seconds: policy.min_age.as_secs(),
        }
    }
}

impl From<prune::Item> for PrunePlanItem {
    fn from(item: prune::Item) -> Self {
        Self {
            id: item.id,
            is_backup: item.is_backup,
            keep: item.keep,
            reasons: all(item.reasons),
            marks: all(item.marks),
            series: item.series,
            objects: item.objects,
            bytes: item.bytes,
        }
    }
}

impl From<prune::Records> for JobRecords {
    fn from(records: prune::Records) -> Self {
        Self {
            execution: records.execution.to_string(),
            objects: records.objects,
        }
    }
}

impl From<prune::Report> for PruneReport {
    fn from(report: prune::Report) -> Self {
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
            ("", false),
            (" {} ", false),
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
