//! `POST /backup`.

use super::request::{self, RequestBody, Selected};
use super::{ErrorDetail, all, words};
use crate::base::error::Result;
use crate::base::hash::sha256_hex;
use crate::ops::backup;
use crate::repository::manifest::Failure;
use crate::repository::names::BackupId;
use crate::repository::selection::Selection;
use crate::repository::unit::{Mode, Unit};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use time::OffsetDateTime;
use utoipa::ToSchema;

const REMEDY: &str = "send {} for all collections, {\"collection\": \"name\"} for one, or lists under collections, include, exclude; and, once, \"new_source\": true for a Qdrant that the store has no backup of yet; \"dry_run\": true to see the plan";

/// What is to be backed up.
#[derive(Debug)]
pub(crate) struct BackupRequest {
    /// `None`: what the configuration says.
    pub(crate) selection: Option<Selection>,
    /// Whether the store may have backups of other Qdrants and none of this one.
    pub(crate) new_source: bool,
    /// Whether only the plan is wanted.
    pub(crate) dry_run: bool,
}

/// Without a selection the configuration decides. An empty list is refused: it selects nothing.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
#[schema(as = BackupRequest)]
pub(crate) struct BackupFields {
    /// Its name; instead of `collections`.
    #[schema(min_length = 1)]
    collection: Option<String>,
    /// Names; each must exist.
    #[schema(min_items = 1)]
    collections: Option<Vec<String>>,
    /// Patterns.
    #[schema(min_items = 1)]
    include: Option<Vec<String>>,
    /// Patterns.
    exclude: Option<Vec<String>>,
    /// Whether the store may have backups of other Qdrants and none of this one.
    new_source: bool,
    /// Whether only the plan is wanted.
    dry_run: bool,
}

impl BackupRequest {
    /// SHA-256 of what is asked for, however the body writes it.
    pub(crate) fn fingerprint(&self) -> String {
        // Lists of strings can always be written.
        let selection = serde_json::to_string(&self.selection).unwrap_or_default();
        sha256_hex(format!("{selection} {}", self.new_source).as_bytes())
    }
}

impl RequestBody for BackupRequest {
    fn parse(body: &[u8]) -> Result<Self> {
        let fields: BackupFields = request::object(body, REMEDY)?;
        if fields.collection.is_some() && fields.collections.is_some() {
            return Err(request::bad(
                "`collection` and `collections` are both given",
                "give one of them",
            ));
        }
        let one = fields.collection.is_some();
        let selected = Selected {
            collections: fields.collection.map(|one| vec![one]).or(fields.collections),
            include: fields.include,
            exclude: fields.exclude,
        };
        Ok(Self {
            selection: selected.selection(if one { "collection" } else { "collections" }, REMEDY)?,
            new_source: fields.new_source,
            dry_run: fields.dry_run,
        })
    }
}

/// The answer of the old route where only the plan was wanted.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct BackupPlanResponse {
    pub(crate) dry_run: bool,
    #[serde(flatten)]
    pub(crate) plan: BackupPlan,
}

/// What a backup would save, and from where.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct BackupPlan {
    /// Its release.
    qdrant: String,
    /// Of a cluster.
    nodes: Vec<PlannedNode>,
    units: Vec<PlannedUnit>,
    warnings: Vec<String>,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
struct PlannedNode {
    peer: u64,
    url: String,
    version: String,
    /// How many of the selected collections' it has in each state.
    replicas: BTreeMap<String, usize>,
    /// How many are saved from it.
    units: usize,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
struct PlannedUnit {
    collection: String,
    /// None: all of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    shard: Option<u32>,
    /// Peer id of the node that it is taken from.
    #[serde(skip_serializing_if = "Option::is_none")]
    node: Option<u64>,
    mode: PlannedMode,
}

words! {
    /// How the bytes leave Qdrant.
    PlannedMode, from Mode: File, Stream
}

impl From<backup::BackupPlan> for BackupPlan {
    fn from(plan: backup::BackupPlan) -> Self {
        Self {
            qdrant: plan.qdrant.version,
            nodes: all(plan.map),
            units: all(plan.units),
            warnings: plan.warnings,
        }
    }
}

impl From<backup::NodeState> for PlannedNode {
    fn from(node: backup::NodeState) -> Self {
        Self {
            peer: node.peer,
            url: node.url,
            version: node.version,
            replicas: node.replicas,
            units: node.units,
        }
    }
}

impl From<Unit> for PlannedUnit {
    fn from(unit: Unit) -> Self {
        Self {
            collection: unit.collection,
            shard: unit.shard,
            node: unit.node,
            mode: unit.mode.into(),
        }
    }
}

/// What a backup came to.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct BackupReport {
    id: BackupId,
    status: BackupOutcome,
    #[serde(with = "time::serde::rfc3339")]
    started_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    finished_at: OffsetDateTime,
    /// URL of the manifest; null when nothing was saved.
    manifest: Option<String>,
    pub(crate) collections: Vec<SavedCollection>,
    pub(crate) failed: Vec<FailedCollection>,
    pub(crate) warnings: Vec<String>,
    /// Collections that Qdrant optimized while they were saved: the backup is not good before a drill has counted them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    unproven: Vec<String>,
    /// What it waited because Qdrant was busy.
    #[serde(skip_serializing_if = "Option::is_none")]
    held_back: Option<HeldBack>,
    /// Whether an earlier request with the same key made it, and this one did nothing.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) repeated: bool,
}

words! {
    /// Whether all that was asked for was saved, some of it, or nothing.
    BackupOutcome, from backup::BackupOutcome: Complete, Partial, Failed
}

#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct SavedCollection {
    pub(crate) name: String,
    /// Count after the snapshot was made.
    pub(crate) points: u64,
    /// Whether that is Qdrant's estimate, because the collection refuses exact counts.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) points_estimated: bool,
    pub(crate) bytes: u64,
    /// Shards that were streamed; the others, and whole collections, by way of a file on Qdrant's disk.
    #[serde(skip_serializing_if = "is_none")]
    streamed: usize,
}

pub(super) fn is_none(count: &usize) -> bool {
    *count == 0
}

/// A collection that is not in the backup, and why.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct FailedCollection {
    pub(crate) collection: String,
    #[serde(flatten)]
    pub(crate) error: ErrorDetail,
}

impl BackupReport {
    /// Whether a drill has to prove first that it is good.
    pub(crate) fn is_unproven(&self) -> bool {
        !self.unproven.is_empty()
    }
}

impl From<backup::BackupReport> for BackupReport {
    fn from(report: backup::BackupReport) -> Self {
        Self {
            id: report.id,
            status: report.status.into(),
            started_at: report.started_at,
            finished_at: report.finished_at,
            manifest: report.manifest,
            collections: all(report.collections),
            failed: all(report.failed),
            warnings: report.warnings,
            unproven: report.unproven,
            held_back: report.held_back.map(Into::into),
            repeated: false,
        }
    }
}

/// What a run waited, and for what.
#[derive(Clone, Debug, Serialize, ToSchema)]
struct HeldBack {
    seconds: u64,
    reasons: Vec<String>,
}

impl From<backup::HeldBack> for HeldBack {
    fn from(held: backup::HeldBack) -> Self {
        Self {
            seconds: held.seconds,
            reasons: held.reasons,
        }
    }
}

impl From<backup::Saved> for SavedCollection {
    fn from(saved: backup::Saved) -> Self {
        Self {
            name: saved.name,
            points: saved.points,
            points_estimated: saved.points_estimated,
            bytes: saved.bytes,
            streamed: saved.streamed,
        }
    }
}

impl From<Failure> for FailedCollection {
    fn from(failure: Failure) -> Self {
        Self {
            collection: failure.collection,
            error: failure.error,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn selection(body: &[u8]) -> Result<Option<Selection>> {
        BackupRequest::parse(body).map(|request| request.selection)
    }

    #[test]
    fn another_source_is_accepted_only_where_that_is_said() {
        for (body, accepted) in [
            ("{}", false),
            (r#"{"new_source":false}"#, false),
            (r#"{"new_source":true}"#, true),
        ] {
            let request = BackupRequest::parse(body.as_bytes()).unwrap();
            assert_eq!((request.selection, request.new_source), (None, accepted), "{body}");
        }
    }

    #[test]
    fn the_old_bodies_mean_what_they_meant() {
        for all in ["", " \n", "{}", " {} ", "{\"collection\":null}"] {
            assert_eq!(selection(all.as_bytes()).unwrap(), None, "{all}");
        }
        let one = selection(br#"{"collection":"docs"}"#).unwrap().unwrap();
        assert_eq!(
            (one.collections, one.include, one.exclude),
            (vec!["docs".to_owned()], vec![], vec![])
        );
    }

    #[test]
    fn what_is_unclear_is_never_taken_for_everything() {
        for wrong in [
            "[]",
            "[null,null,null,null]",
            "null",
            "\"docs\"",
            "{",
            "{}x",
            "{\"collection\":1}",
            "{\"collection\":\"\"}",
            "{\"collections\":[]}",
            "{\"include\":[]}",
            "{\"include\":\"docs\"}",
            "{\"colection\":\"docs\"}",
            "{\"collection\":\"a\",\"collection\":\"b\"}",
            "{\"collection\":\"a\",\"collections\":[\"b\"]}",
            "{\"exclude\":[\" \"]}",
        ] {
            assert!(selection(wrong.as_bytes()).is_err(), "{wrong}");
        }
        assert!(selection(b"\xff").is_err());
    }
}
