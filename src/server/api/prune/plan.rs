//! What a prune would delete, what stays, and why.

use super::super::values::BackupMark;
use super::super::{all, words};
use crate::ops::{prune, retention};
use crate::repository::names::BackupId;
use serde::Serialize;
use time::OffsetDateTime;
use utoipa::ToSchema;

#[derive(Clone, Debug, Serialize, ToSchema)]
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
#[derive(Clone, Debug, Serialize, ToSchema)]
struct RetentionPolicy {
    last: u32,
    hourly: u32,
    daily: u32,
    weekly: u32,
    monthly: u32,
    yearly: u32,
    /// Of those that are newer than the newest good one.
    partial: u32,
    /// No younger backup is deleted.
    min_age_seconds: u64,
    /// What has no manifest goes so long after its last change.
    leftover_age_seconds: u64,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
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
        Pinned, TooYoung, InFuture, NotUnderstood, NewestGood, NothingBetter, Last, Hourly, Daily, Weekly, Monthly, Yearly,
        Partial, NewestCopy
}

#[derive(Clone, Debug, Serialize, ToSchema)]
struct JobRecords {
    execution: String,
    objects: usize,
}

impl From<prune::PrunePlan> for PrunePlan {
    fn from(plan: prune::PrunePlan) -> Self {
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
            partial: policy.partial,
            min_age_seconds: policy.min_age.as_secs(),
            leftover_age_seconds: policy.leftover_age.as_secs(),
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
