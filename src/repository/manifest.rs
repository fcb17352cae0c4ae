//! The manifest: what a backup is made of. It is written last, and only when everything that it names is complete and checked.
//!
//! The format is versioned. Fields that this version does not know are kept when a manifest is read and written again.

mod encoded;
mod read;
mod source;

pub use crate::wire::store::record::read_small;
pub(crate) use encoded::unreadable_collections;
pub use encoded::{EncodedManifest, entry};
pub(crate) use read::{outline, require};
pub use read::{read, read_of_any_backup};
pub(crate) use source::Relation;
pub use source::Source;

use crate::base::error::{Code, Error, ErrorInfo, Result};
use crate::base::json::Packed;
use crate::base::text::in_the_middle;
use crate::base::total::total;
use crate::repository::names::{ArtifactKind, BackupId};
use crate::repository::selection::Selection;
use crate::repository::sharding::{self, Described, Sharding};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use time::OffsetDateTime;

/// The format's version. A reader refuses a newer one.
pub const FORMAT: u32 = 1;
/// No manifest is larger (1,000 collections with large configs need about 10 MB).
const LARGEST: u64 = 256 << 20;

/// Characters of a collection's name where it only tells which one is meant; Qdrant's own limit is as many bytes.
pub(crate) const LONGEST_NAME: usize = 255;
/// Characters of the reason why a collection is missing.
const LONGEST_MESSAGE: usize = 4000;

/// Whether a backup has all that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// All collections that were asked for are in it.
    Complete,
    /// At least one is missing: restorable for what it has, never counted as good.
    Partial,
}

/// All that is known of one backup. `D` is what is kept of each description by Qdrant.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Manifest<D = Packed> {
    /// Version of this format, see [`FORMAT`].
    pub format: u32,
    /// The backup's id.
    pub id: BackupId,
    /// Whether it has all that was asked for.
    pub status: Status,
    /// Version of the tool that wrote it.
    pub tool_version: String,
    /// Start of the run.
    #[serde(with = "time::serde::rfc3339")]
    pub started_at: OffsetDateTime,
    /// Just before the manifest was written.
    #[serde(with = "time::serde::rfc3339")]
    pub finished_at: OffsetDateTime,
    /// The Qdrant that was backed up.
    pub qdrant: QdrantInfo,
    /// Which collections were asked for.
    pub selection: Selection,
    /// What is in it.
    pub collections: Vec<Collection<D>>,
    /// What is missing and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failed: Vec<Failure>,
    /// What the reader should know.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// Fields of other versions.
    #[serde(flatten)]
    pub extra: BTreeMap<String, Value>,
}

/// A manifest for those who restore nothing: most of one is what Qdrant said of its collections.
pub type Outline = Manifest<Sharding>;

/// The Qdrant that a backup was made of.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct QdrantInfo {
    /// Release version as `GET /` tells it; snapshots themselves do not carry it.
    pub version: String,
    /// How its nodes were arranged.
    pub topology: Topology,
    /// Whether the key was one for certain collections: Qdrant leaves out others, and aliases that the key does not name.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub scoped_key: bool,
    /// Which one it is; earlier versions did not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
    /// Fields of other versions.
    #[serde(flatten)]
    pub extra: BTreeMap<String, Value>,
}

/// How the nodes of a Qdrant are arranged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Topology {
    /// One node that holds everything.
    Standalone,
    /// Several nodes, each with some replicas of some shards.
    Cluster {
        /// The nodes' peer ids.
        peers: Vec<u64>,
    },
}

/// One collection in a backup.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(bound(deserialize = "D: Deserialize<'de>"))]
pub struct Collection<D = Packed> {
    /// Its full name.
    pub name: String,
    /// `config` of `GET /collections/{name}`, as it was before the snapshot.
    pub config: D,
    /// `payload_schema` of `GET /collections/{name}`.
    pub payload_schema: D,
    /// Aliases that point to it; they are in no Qdrant snapshot.
    pub aliases: Vec<String>,
    /// Count before the snapshot was asked for.
    pub points_before: u64,
    /// Count after the snapshot was made. Under writes the two only bound the truth.
    pub points_after: u64,
    /// Whether one of the counts is Qdrant's estimate, because the collection refuses exact ones (strict mode).
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub points_estimated: bool,
    /// Configuration and payload indexes after the snapshot was made, if they changed meanwhile: the snapshot has the one or the other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub changed_to: Option<Description<D>>,
    /// Where its shards were: `GET /collections/{name}/cluster`.
    pub shards: D,
    /// The objects that hold its data.
    pub artifacts: Vec<Artifact>,
    /// What the reader should know.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// Fields of other versions.
    #[serde(flatten)]
    pub extra: BTreeMap<String, Value>,
}

/// What `GET /collections/{name}` says of a collection beside its state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Description<D = Packed> {
    pub config: D,
    pub payload_schema: D,
}

/// Payload indexes without their point counts, which change by themselves.
pub(crate) fn without_points(payload_schema: &Value) -> Value {
    let mut schema = payload_schema.clone();
    for index in schema.as_object_mut().into_iter().flat_map(|s| s.values_mut()) {
        if let Some(index) = index.as_object_mut() {
            index.remove("points");
        }
    }
    schema
}

impl Collection {
    /// Whether its configuration and payload indexes are these; how many points an index has changes by itself.
    pub(crate) fn is_described_by(&self, config: &Packed, payload_schema: &Packed) -> bool {
        let indexes = |schema: &Packed| without_points(&schema.value());
        self.config == *config && indexes(&self.payload_schema) == indexes(payload_schema)
    }
}

impl<D> Collection<D> {
    /// Bytes of all its artifacts.
    pub fn bytes(&self) -> u64 {
        total(self.artifacts.iter().map(|a| a.bytes))
    }

    /// Whether each of its shards has a snapshot of its own.
    pub(crate) fn is_by_shards(&self) -> bool {
        let of_shard = |artifact: &Artifact| matches!(artifact.kind, ArtifactKind::Shard(_));
        !self.artifacts.is_empty() && self.artifacts.iter().all(of_shard)
    }

    /// Whether an optimizer may have worked while a snapshot of it was made: points that were deleted may be back in it.
    pub(crate) fn is_unsettled(&self) -> bool {
        self.artifacts.iter().any(|artifact| artifact.optimizing)
    }

    /// The id of a shard that it had, and of which there is no artifact, if its shards were saved one by one.
    pub(crate) fn lacks_shard(&self) -> Option<u32>
    where
        D: Described,
    {
        if !self.is_by_shards() {
            return None;
        }
        let saved: BTreeSet<_> = self.artifacts.iter().map(|artifact| artifact.kind).collect();
        let shards = self.shards.sharding();
        let lacking = |id: &&u32| !saved.contains(&ArtifactKind::Shard(**id));
        shards.ids().iter().find(lacking).copied()
    }

    /// What is wrong with it as the manifest tells it.
    pub(crate) fn damage(&self) -> Option<String>
    where
        D: Described,
    {
        let shard = self.lacks_shard()?;
        Some(format!("collection {:?} has no object of its shard {shard}", self.name))
    }

    /// Why it cannot be restored although its objects may be whole: one of a backup by an older version of this tool.
    pub(crate) fn cannot_be_restored(&self) -> Option<Error>
    where
        D: Described,
    {
        sharding::has_unknown_keys(&self.config, &self.shards).then(|| sharding::cannot_be_restored(&self.name))
    }
}

impl Artifact {
    /// Whether it was read as Qdrant made it, and was no file there.
    pub(crate) fn is_streamed(&self) -> bool {
        self.snapshot.is_empty()
    }
}

/// How the bytes of an artifact are kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Storage {
    /// One object, a plain Qdrant snapshot.
    Object,
    /// A way that this version does not know.
    #[serde(untagged)]
    Other(String),
}

/// One object of a backup.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Artifact {
    /// Key relative to the store's prefix.
    pub key: String,
    /// How the bytes are kept.
    pub storage: Storage,
    /// What it is a snapshot of.
    pub kind: ArtifactKind,
    /// Peer id of the node it was taken from, where Qdrant tells it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<u64>,
    /// Length in bytes.
    pub bytes: u64,
    /// SHA-256 of the bytes, lower-case hex. Compared with Qdrant's own where Qdrant gives one.
    pub sha256: String,
    /// Whether Qdrant's own checksum was compared with [`Artifact::sha256`].
    pub sha256_confirmed_by_qdrant: bool,
    /// CRC32C of the bytes, eight hex digits. Compared with the store's.
    pub crc32c: String,
    /// Version of the object in the store; on GCS its generation.
    pub version: String,
    /// Of a shard: its points before its snapshot was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub points_before: Option<u64>,
    /// Of a shard: its points after its snapshot was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub points_after: Option<u64>,
    /// Of a shard: whether an optimizer may have worked while its snapshot was made, which then may have points that had been
    /// deleted.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub optimizing: bool,
    /// The snapshot's name on Qdrant; empty: it was streamed.
    pub snapshot: String,
    /// When the snapshot was asked for: no write after `created_at` is in it.
    #[serde(with = "time::serde::rfc3339")]
    pub requested_at: OffsetDateTime,
    /// When Qdrant had made it.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    /// Fields of other versions.
    #[serde(flatten)]
    pub extra: BTreeMap<String, Value>,
}

/// Why a collection is missing.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Failure {
    pub collection: String,
    /// What happened. The code is a text, because a newer version may know more of them.
    #[serde(flatten)]
    pub error: ErrorInfo<String>,
}

impl Failure {
    /// The failure of `collection` by `error`, of a length that any number of them leaves a manifest that can be read.
    pub fn of(collection: &str, error: &Error) -> Self {
        let error = ErrorInfo::<String>::from(error);
        Self {
            collection: in_the_middle(collection, LONGEST_NAME),
            error: ErrorInfo {
                message: in_the_middle(&error.message, LONGEST_MESSAGE),
                ..error
            },
        }
    }
}

/// What is added up of collections.
#[derive(Clone, Copy, Default)]
struct Numbers {
    bytes: u64,
    points_before: u64,
    points_after: u64,
}

impl Numbers {
    /// With those of one more collection; `None` where they are too large.
    fn with<D>(self, collection: &Collection<D>) -> Option<Self> {
        let mut bytes = collection.artifacts.iter().map(|artifact| artifact.bytes);
        Some(Self {
            bytes: bytes.try_fold(self.bytes, u64::checked_add)?,
            points_before: self.points_before.checked_add(collection.points_before)?,
            points_after: self.points_after.checked_add(collection.points_after)?,
        })
    }
}

impl<D> Manifest<D> {
    /// Bytes of all artifacts.
    pub fn bytes(&self) -> u64 {
        total(self.collections.iter().map(Collection::bytes))
    }

    /// Whether its points and bytes can be added up: they come from elsewhere, and everybody who reads them adds them.
    fn adds_up(&self) -> bool {
        let total = self.collections.iter().try_fold(Numbers::default(), Numbers::with);
        total.is_some()
    }

    /// That this is the manifest of the backup `id`: one that was copied here names the objects of another backup, which may
    /// go with it at any time.
    pub(crate) fn require_place(&self, id: &BackupId) -> Result<()> {
        match self.id == *id {
            true => Ok(()),
            false => Err(damaged(id, &format!("its manifest belongs to backup {}", self.id))),
        }
    }

    /// That each of the collections `names`, and each object of theirs, is in it once: which of two would be restored?
    pub(crate) fn require_once<'a>(&'a self, names: impl IntoIterator<Item = &'a String>) -> Result<()> {
        let names: BTreeSet<_> = names.into_iter().collect();
        let (mut seen, mut keys) = (BTreeSet::new(), BTreeSet::new());
        for collection in self.collections.iter().filter(|c| names.contains(&c.name)) {
            if !seen.insert(&collection.name) {
                return Err(damaged(
                    &self.id,
                    &format!("it has collection {:?} twice", collection.name),
                ));
            }
            if let Some(again) = collection.artifacts.iter().find(|artifact| !keys.insert(&artifact.key)) {
                return Err(damaged(&self.id, &format!("it has object {:?} twice", again.key)));
            }
        }
        Ok(())
    }
}

pub(crate) fn damaged(id: &BackupId, how: &str) -> Error {
    Error::new(Code::BackupDamaged, format!("backup {id} is damaged: {how}"))
        .remedy("use another backup; the objects of this one, plain Qdrant snapshots, may be intact")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_short_whatever_it_is_told_of() {
        let long = "é".repeat(1 << 20);
        let said = std::io::Error::other(long.clone());
        let error = Error::new(Code::QdrantUnexpected, format!("reading collection {long:?}")).because(said);
        let failure = Failure::of(&long, &error);
        let json = serde_json::to_vec(&failure).unwrap();
        assert!(json.len() < 20_000, "{} bytes", json.len());
        let short = Error::new(Code::Stalled, "no byte within 60 s");
        assert_eq!(Failure::of("docs", &short).error.message, "no byte within 60 s");
        // What was read may be as long as what is told of it.
        let read = serde_json::from_str::<u64>(&format!("{long:?}")).unwrap_err();
        let told = Error::new(Code::BackupDamaged, "x").because(read).chain();
        assert!(
            told.len() < 20_000 && told.starts_with("x: invalid type: string"),
            "{}",
            told.len()
        );
    }
}
