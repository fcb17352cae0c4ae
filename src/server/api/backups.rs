//! `GET /backups`.

use super::all;
use super::prune::KeepReason;
use super::values::{BackupMark, BackupStatus, Pin, Proof, Selection};
use crate::ops::prune;
use crate::repository::catalog::{ListedBackup, Summary};
use crate::repository::names::BackupId;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use time::OffsetDateTime;
use utoipa::{IntoParams, ToSchema};

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct BackupsQuery {
    /// 20 by default.
    #[param(minimum = 1, maximum = 1000)]
    pub(crate) limit: Option<u16>,
    /// Whether to tell also what has no manifest.
    #[serde(default)]
    pub(crate) all: bool,
}

/// Newest first.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BackupsResponse {
    pub(crate) backups: Vec<BackupSummary>,
    /// What killed runs left without a manifest, newest first; only where it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) leftovers: Option<Vec<LeftoverFolder>>,
}

/// Objects without a manifest.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct LeftoverFolder {
    id: BackupId,
    objects: usize,
    bytes: u64,
    #[serde(with = "time::serde::rfc3339")]
    changed_at: OffsetDateTime,
    /// Why it stays for now; empty: a prune deletes it.
    reasons: Vec<KeepReason>,
    /// From when on a prune deletes it; null: it is pinned.
    #[serde(with = "time::serde::rfc3339::option")]
    prunable_at: Option<OffsetDateTime>,
    /// Whether the run that holds the lease is writing it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    under_way: bool,
}

impl From<prune::Leftover> for LeftoverFolder {
    fn from(leftover: prune::Leftover) -> Self {
        Self {
            id: leftover.id,
            objects: leftover.objects,
            bytes: leftover.bytes,
            changed_at: leftover.changed_at,
            reasons: all(leftover.reasons),
            prunable_at: leftover.prunable_at,
            under_way: leftover.under_way,
        }
    }
}

/// A backup in a list.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct BackupSummary {
    #[serde(flatten)]
    backup: BackupFacts,
    /// Seconds since it was finished.
    age_seconds: Option<u64>,
}

/// What is known of a backup and its worth.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct BackupFacts {
    id: BackupId,
    /// Null when the manifest cannot be used, see `problem`.
    status: Option<BackupStatus>,
    selection: Option<Selection>,
    marks: Vec<BackupMark>,
    #[serde(with = "time::serde::rfc3339::option")]
    finished_at: Option<OffsetDateTime>,
    /// How many.
    collections: usize,
    points: u64,
    bytes: u64,
    points_by_collection: BTreeMap<String, u64>,
    verified: Option<Proof>,
    drilled: Option<Proof>,
    pinned: Option<Pin>,
    /// Why the manifest, or the record of a proof beside it, cannot be used.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
    /// Collections that this version cannot bring back from it, and why.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    not_restorable: BTreeMap<String, String>,
    /// Collections that are damaged as the manifest itself tells them, and how.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    damaged: BTreeMap<String, String>,
    /// Collections of which a shard was optimized while it was saved.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    unproven: Vec<String>,
}

impl From<ListedBackup> for BackupSummary {
    fn from(aged: ListedBackup) -> Self {
        Self {
            backup: aged.summary.into(),
            age_seconds: aged.age_seconds,
        }
    }
}

impl From<Summary> for BackupFacts {
    fn from(summary: Summary) -> Self {
        Self {
            id: summary.id,
            status: summary.status.map(Into::into),
            selection: summary.selection.map(Into::into),
            marks: all(summary.marks),
            finished_at: summary.finished_at,
            collections: summary.collections,
            points: summary.points,
            bytes: summary.bytes,
            points_by_collection: summary.points_by_collection,
            verified: summary.verified.map(Into::into),
            drilled: summary.drilled.map(Into::into),
            pinned: summary.pinned.map(Into::into),
            problem: summary.problem,
            not_restorable: summary.not_restorable,
            damaged: summary.damaged,
            unproven: summary.unproven,
        }
    }
}
