//! The manifest: what a backup is made of. It is written last, and only when everything that it names is complete and checked.
//!
//! The format is versioned. Fields that this version does not know are kept when a manifest is read and written again.

mod encoded;
mod source;

pub use crate::wire::store::record::read_small;
pub(crate) use encoded::unreadable_collections;
pub use encoded::{EncodedManifest, entry};
pub(crate) use source::Relation;
pub use source::Source;

use crate::base::error::{Code, Error, ErrorInfo, Result};
use crate::repository::names::{ArtifactKind, BackupId};
use crate::repository::selection::Selection;
use crate::repository::sharding;
use crate::wire::store::Store;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use time::OffsetDateTime;

/// The format's version. A reader refuses a newer one.
pub const FORMAT: u32 = 1;
/// No manifest is larger; bounds what is read into memory (1,000 collections with large configs need about 10 MB).
const LARGEST: u64 = 256 << 20;

/// Whether a backup has all that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// All collections that were asked for are in it.
    Complete,
    /// At least one is missing: restorable for what it has, never counted as good.
    Partial,
}

/// All that is known of one backup.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Manifest {
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
    pub collections: Vec<Collection>,
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
pub struct Collection {
    /// Its full name.
    pub name: String,
    /// `config` of `GET /collections/{name}`, as it was before the snapshot.
    pub config: Value,
    /// `payload_schema` of `GET /collections/{name}`.
    pub payload_schema: Value,
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
    pub changed_to: Option<Description>,
    /// Where its shards were: `GET /collections/{name}/cluster`.
    pub shards: Value,
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
pub struct Description {
    pub config: Value,
    pub payload_schema: Value,
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
    /// Bytes of all its artifacts.
    pub fn bytes(&self) -> u64 {
        self.artifacts.iter().map(|a| a.bytes).sum()
    }

    /// Why it cannot be restored although its objects may be whole: one of a backup by an older version of this tool.
    pub(crate) fn cannot_be_restored(&self) -> Option<Error> {
        sharding::is_custom(&self.config, &self.shards).then(|| sharding::cannot_be_restored(&self.name))
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
    /// The snapshot's name on Qdrant.
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
    /// The failure of `collection` by `error`.
    pub fn of(collection: &str, error: &Error) -> Self {
        Self {
            collection: collection.to_owned(),
            error: error.into(),
        }
    }
}

impl Manifest {
    /// Bytes of all artifacts.
    pub fn bytes(&self) -> u64 {
        self.collections.iter().map(Collection::bytes).sum()
    }

    /// Whether its points and bytes can be added up: they come from elsewhere, and everybody who reads them adds them.
    fn adds_up(&self) -> bool {
        let add = |sum: [u64; 3], more: [u64; 3]| {
            let [a, b, c] = std::array::from_fn(|i| sum[i].checked_add(more[i]));
            Some([a?, b?, c?])
        };
        let mut numbers = self.collections.iter().flat_map(|collection| {
            let bytes = collection.artifacts.iter().map(|artifact| [artifact.bytes, 0, 0]);
            bytes.chain([[0, collection.points_before, collection.points_after]])
        });
        numbers.try_fold([0; 3], add).is_some()
    }

    /// That this is the manifest of the backup `id`: one that was copied here names the objects of another backup, which may
    /// go with it at any time.
    pub(crate) fn require_place(&self, id: &BackupId) -> Result<()> {
        match self.id == *id {
            true => Ok(()),
            false => Err(damaged(id, &format!("its manifest belongs to backup {}", self.id))),
        }
    }
}

/// Reads the manifest of the backup `id`.
///
/// # Errors
/// [`Code::BackupNotFound`] without one, [`Code::BackupDamaged`] for what is no manifest or that of another backup,
/// [`Code::BackupUnsupported`] for a newer format.
pub async fn read(store: &dyn Store, id: &BackupId) -> Result<Manifest> {
    let manifest = read_of_any_backup(store, id).await?;
    manifest.require_place(id)?;
    Ok(manifest)
}

/// The manifest that lies where that of the backup `id` belongs, also when it is another one's.
pub async fn read_of_any_backup(store: &dyn Store, id: &BackupId) -> Result<Manifest> {
    let key = id.manifest();
    let Some(bytes) = read_small(store, &key, LARGEST).await? else {
        return Err(
            Error::new(Code::BackupNotFound, format!("{} has no backup {id}", store.url()))
                .remedy("run `qdrant-backup list`; a backup without a manifest never finished"),
        );
    };
    parse(&bytes, id)
}

/// Parses what is stored as the manifest of the backup `id`.
fn parse(bytes: &[u8], id: &BackupId) -> Result<Manifest> {
    let malformed = |e: serde_json::Error| damaged(id, "manifest.json is not a valid manifest").because(e);
    // The version first: a newer format may not even parse as this one.
    let fields: Map<String, Value> = serde_json::from_slice(bytes).map_err(malformed)?;
    match fields.get("format").and_then(Value::as_u64) {
        Some(format) if format <= u64::from(FORMAT) => {}
        Some(format) => {
            return Err(Error::new(
                Code::BackupUnsupported,
                format!(
                    "backup {id} is unreadable for this version (it may be intact): its manifest has format {format}, \
                     this version reads up to {FORMAT}"
                ),
            )
            .remedy("use the qdrant-backup version that wrote it, or a newer one"));
        }
        None => return Err(damaged(id, "manifest.json is not a valid manifest: it has no `format`")),
    }
    let manifest: Manifest = serde_json::from_value(Value::Object(fields)).map_err(malformed)?;
    match manifest.adds_up() {
        true => Ok(manifest),
        false => Err(damaged(id, "its point or byte counts overflow")),
    }
}

pub(crate) fn damaged(id: &BackupId, how: &str) -> Error {
    Error::new(Code::BackupDamaged, format!("backup {id} is damaged: {how}"))
        .remedy("use another backup; the objects of this one, plain Qdrant snapshots, may be intact")
}
