//! `POST /backups/{id}/drill`.

use super::request::{self, RequestBody};
use super::{all, words};
use crate::base::error::{ErrorInfo, Result};
use crate::ops::drill;
use crate::repository::names::BackupId;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use utoipa::ToSchema;

const REMEDY: &str = "send {}, or {\"same_qdrant\": true} to allow a drill on the Qdrant that is backed up, \
                      {\"no_lock\": true} to go on without the lease";

/// It names no target: whoever may call this service must not choose where Qdrant's data goes.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct DrillRequest {
    pub(crate) same_qdrant: bool,
    pub(crate) no_lock: bool,
}

impl RequestBody for DrillRequest {
    fn parse(body: &[u8]) -> Result<Self> {
        request::object(body, REMEDY)
    }
}

/// Which backup is to be drilled. It names no target: that is configured.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DrillOf {
    /// Of the backup, or `latest`.
    pub(crate) id: String,
    /// Whether the Qdrant that is backed up is allowed, where there is none for drills.
    #[serde(default)]
    pub(crate) same_qdrant: bool,
    /// Whether to go on without the lease, whoever has it.
    #[serde(default)]
    pub(crate) no_lock: bool,
}

impl RequestBody for DrillOf {
    fn parse(body: &[u8]) -> Result<Self> {
        request::required(body, "send {\"id\": \"latest\"} and, as needed, same_qdrant, no_lock")
    }
}

/// What a drill found.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct DrillReport {
    id: BackupId,
    /// When it ended.
    #[serde(with = "time::serde::rfc3339")]
    at: OffsetDateTime,
    by: String,
    tool_version: String,
    /// The Qdrant that it was held on.
    pub(crate) target: String,
    pub(crate) target_version: String,
    verdict: DrillVerdict,
    pub(crate) collections: Vec<DrilledCollection>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) warnings: Vec<String>,
    /// Why this was not recorded beside the manifest: the next one who looks does not learn it.
    #[serde(skip_serializing_if = "Option::is_none")]
    not_recorded: Option<ErrorInfo>,
}

words! {
    /// Whether what came back was equal to the backup.
    DrillVerdict, from drill::DrillVerdict: Passed, Failed
}

#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct DrilledCollection {
    pub(crate) name: String,
    pub(crate) verdict: DrillVerdict,
    /// Exact count of what came back.
    pub(crate) points: Option<u64>,
    /// Points that were read with their vectors.
    sampled: Option<usize>,
    /// Searches that were made; of a drill by the engine.
    #[serde(skip_serializing_if = "Option::is_none")]
    searches: Option<usize>,
    /// Bytes moved.
    pub(crate) bytes: u64,
    /// For moving and restoring them.
    seconds: Option<f64>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) problem: Option<String>,
}

impl From<drill::DrillReport> for DrillReport {
    fn from(drilled: drill::DrillReport) -> Self {
        Self {
            id: drilled.id,
            at: drilled.at,
            by: drilled.by,
            tool_version: drilled.tool_version,
            target: drilled.target,
            target_version: drilled.target_version,
            verdict: drilled.verdict.into(),
            collections: all(drilled.collections),
            warnings: drilled.warnings,
            not_recorded: drilled.not_recorded,
        }
    }
}

impl From<drill::CollectionDrill> for DrilledCollection {
    fn from(collection: drill::CollectionDrill) -> Self {
        Self {
            name: collection.name,
            verdict: collection.verdict.into(),
            points: collection.points,
            sampled: collection.sampled,
            searches: collection.searches,
            bytes: collection.bytes,
            seconds: collection.seconds,
            problem: collection.problem,
        }
    }
}
