//! `GET /backups/{id}`.

use super::all;
use super::backup::{FailedCollection, is_none};
use super::backups::BackupFacts;
use super::values::{BackupStatus, Selection, Source};
use crate::base::snapshot;
use crate::repository::catalog::Detail;
use crate::repository::manifest::{self, Storage};
use crate::repository::names::BackupId;
use crate::repository::verdicts::verified;
use serde::Serialize;
use time::OffsetDateTime;
use utoipa::ToSchema;

/// A backup in full. It is not the manifest: what Qdrant said of a collection's configuration and shards is there alone.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BackupDetail {
    id: BackupId,
    status: BackupStatus,
    /// Version of the tool that made it.
    tool_version: String,
    #[serde(with = "time::serde::rfc3339")]
    started_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    finished_at: OffsetDateTime,
    /// Seconds since it was finished.
    age_seconds: Option<u64>,
    qdrant: BackedUpQdrant,
    selection: Selection,
    collections: Vec<BackedUpCollection>,
    failed: Vec<FailedCollection>,
    warnings: Vec<String>,
    /// What the last verification found wrong; the first 20.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    damage_found: Vec<DamageFound>,
    /// How much more it found.
    #[serde(skip_serializing_if = "is_none")]
    more_damage_found: usize,
    /// As in the list, with what is known of its worth.
    summary: BackupFacts,
}

#[derive(Debug, Serialize, ToSchema)]
struct DamageFound {
    /// Null: it is the manifest itself.
    collection: Option<String>,
    message: String,
}

#[derive(Debug, Serialize, ToSchema)]
struct BackedUpQdrant {
    version: String,
    topology: Topology,
    /// Null: a backup of an earlier version of the tool does not tell.
    source: Option<Source>,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case", tag = "kind")]
enum Topology {
    Standalone,
    Cluster { peers: Vec<u64> },
}

#[derive(Debug, Serialize, ToSchema)]
struct BackedUpCollection {
    name: String,
    /// Count after the snapshot was made, as everywhere.
    points: u64,
    /// Counts before the snapshot was asked for, and after it was made: under writes they only bound the truth.
    points_before: u64,
    points_after: u64,
    /// Whether they are Qdrant's estimates, because the collection refuses exact ones.
    points_estimated: bool,
    bytes: u64,
    aliases: Vec<String>,
    artifacts: Vec<Artifact>,
    warnings: Vec<String>,
    /// Why this version cannot bring it back.
    not_restorable: Option<String>,
}

/// One object of the store.
#[derive(Debug, Serialize, ToSchema)]
struct Artifact {
    key: String,
    storage: String,
    kind: ArtifactKind,
    /// Peer id of the node that it was taken from.
    node: Option<u64>,
    /// Of a shard.
    #[serde(skip_serializing_if = "Option::is_none")]
    points_before: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    points_after: Option<u64>,
    /// Whether an optimizer may have worked while its snapshot was made.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    optimizing: bool,
    bytes: u64,
    /// Lower-case hex.
    sha256: String,
    sha256_confirmed_by_qdrant: bool,
    /// Eight hex digits.
    crc32c: String,
    /// In the store; on GCS its generation.
    version: String,
    /// No write after `created_at` is in it; all before `requested_at` are.
    #[serde(with = "time::serde::rfc3339")]
    requested_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    created_at: OffsetDateTime,
}

/// `"collection"`, or `{"shard": 0}`.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum ArtifactKind {
    Collection,
    Shard(u32),
}

impl From<Detail> for BackupDetail {
    fn from(detail: Detail) -> Self {
        let manifest = detail.manifest;
        Self {
            id: manifest.id,
            status: manifest.status.into(),
            tool_version: manifest.tool_version,
            started_at: manifest.started_at,
            finished_at: manifest.finished_at,
            age_seconds: detail.age_seconds,
            qdrant: manifest.qdrant.into(),
            selection: manifest.selection.into(),
            collections: all(manifest.collections),
            failed: all(manifest.failed),
            warnings: manifest.warnings,
            damage_found: all(detail.damage_found),
            more_damage_found: detail.more_damage_found,
            summary: detail.summary.into(),
        }
    }
}

impl From<verified::DamageFound> for DamageFound {
    fn from(damage: verified::DamageFound) -> Self {
        Self {
            collection: damage.collection,
            message: damage.message,
        }
    }
}

impl From<manifest::QdrantInfo> for BackedUpQdrant {
    fn from(qdrant: manifest::QdrantInfo) -> Self {
        Self {
            version: qdrant.version,
            topology: match qdrant.topology {
                manifest::Topology::Standalone => Topology::Standalone,
                manifest::Topology::Cluster { peers } => Topology::Cluster { peers },
            },
            source: qdrant.source.map(Into::into),
        }
    }
}

impl From<manifest::Collection> for BackedUpCollection {
    fn from(collection: manifest::Collection) -> Self {
        Self {
            points: collection.points_after,
            points_before: collection.points_before,
            points_after: collection.points_after,
            points_estimated: collection.points_estimated,
            bytes: collection.bytes(),
            not_restorable: collection.cannot_be_restored().map(|why| why.chain()),
            name: collection.name,
            aliases: collection.aliases,
            artifacts: all(collection.artifacts),
            warnings: collection.warnings,
        }
    }
}

impl From<manifest::Artifact> for Artifact {
    fn from(artifact: manifest::Artifact) -> Self {
        Self {
            key: artifact.key,
            storage: match artifact.storage {
                Storage::Object => "object".to_owned(),
                Storage::Other(other) => other,
            },
            kind: match artifact.kind {
                snapshot::ArtifactKind::Collection => ArtifactKind::Collection,
                snapshot::ArtifactKind::Shard(shard) => ArtifactKind::Shard(shard),
            },
            node: artifact.node,
            points_before: artifact.points_before,
            points_after: artifact.points_after,
            optimizing: artifact.optimizing,
            bytes: artifact.bytes,
            sha256: artifact.sha256,
            sha256_confirmed_by_qdrant: artifact.sha256_confirmed_by_qdrant,
            crc32c: artifact.crc32c,
            version: artifact.version,
            requested_at: artifact.requested_at,
            created_at: artifact.created_at,
        }
    }
}
