//! The port to an object store: where the bytes of a backup end up.
//!
//! A handful of methods. A write states its [`Condition`], so overwriting a backup cannot be expressed. Keys are relative
//! to the store's own prefix and are named by the layer above only.

mod dir;
mod gcs;
pub mod record;
mod sign;
mod token;
mod url;

use crate::base::error::{Code, Error, Result};
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::BoxStream;
use std::{fmt::Debug, ops::Range};
use time::OffsetDateTime;

pub use dir::DirStore;
pub use gcs::{GcsOptions, GcsStore, Retry};
pub use sign::Signing;
pub use token::TokenSource;
pub use url::open;

/// Prefix of all backups.
pub(crate) const BACKUPS: &str = "backups/";
/// Prefix of all recorded intents.
pub(crate) const INTENTS: &str = "intents/";
/// Prefix of the records of all executions of jobs.
pub(crate) const JOBS: &str = "jobs/";
/// Prefix of what runs tell of themselves.
pub(crate) const RUNS: &str = "runs/";

/// Identifies one content of one key; opaque outside the store. For GCS it is the object's generation.
#[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Version(pub String);

/// What must hold for a write to happen; otherwise it fails with [`crate::base::error::Code::StoreConflict`].
#[derive(Clone, Debug)]
pub enum Condition {
    /// The key does not exist.
    Absent,
    /// The key still has this version (compare-and-swap; used by the lease only).
    Unchanged(Version),
}

/// What the store says of an object.
#[derive(Clone, Debug)]
pub struct ObjectMeta {
    /// Key relative to the store's prefix.
    pub key: String,
    /// Length in bytes.
    pub size: u64,
    /// Version of this content.
    pub version: Version,
    /// CRC32C (Castagnoli) of the stored bytes as computed by the store, where it keeps one (GCS always; a directory only
    /// in the answer to [`Store::put`], read back from the file).
    pub crc32c: Option<u32>,
    /// Last change, by the store's clock.
    pub updated: OffsetDateTime,
}

/// What lies directly below a prefix, each in the order of the names.
#[derive(Clone, Debug, Default)]
pub struct Folder {
    /// Objects whose key has no further `/`.
    pub objects: Vec<ObjectMeta>,
    /// Names of folders: what stands between the prefix and the next `/` in any key.
    pub folders: Vec<String>,
}

/// A body to be written: bytes that can be asked for again from an offset, because a resumable upload may have to.
#[allow(clippy::len_without_is_empty)] // Nobody asks a source whether it is empty.
#[async_trait]
pub trait Source: Send + Sync {
    /// Exact length in bytes. A source that ends before has failed and must say so by an `Err`.
    fn len(&self) -> u64;

    /// The next chunk, never empty; `None` only after exactly [`Source::len`] bytes.
    async fn next(&mut self) -> Option<Result<Bytes>>;

    /// Continues from `offset`; the first call of a writer may be `seek(0)`.
    async fn seek(&mut self, offset: u64) -> Result<()>;

    /// CRC32C of all bytes, once the last one has been handed out; anything before. A source that computes it anyway says so
    /// here and spares the store the work; `None` (then always) lets the store compute it.
    fn crc32c(&self) -> Option<u32> {
        None
    }
}

/// A body to be written that passes once: nobody knows its length before its end, and no byte can be had again.
#[async_trait]
pub trait ByteStream: Send + Sync {
    /// The next chunk, never empty. `None` says that those before were all and are right: nothing is published before that.
    async fn next(&mut self) -> Option<Result<Bytes>>;

    /// CRC32C of all bytes, once `None` was handed out. As [`Source::crc32c`].
    fn crc32c(&self) -> Option<u32> {
        None
    }
}

/// A store of objects. Implementations are cheap to share behind an `Arc`.
#[async_trait]
pub trait Store: Send + Sync + Debug {
    /// The URL that names the store in messages, e.g. `gs://bucket/prefix`.
    fn url(&self) -> String;

    /// Writes an object whole or not at all, and returns what the store says it holds. When the store's checksum differs
    /// from that of the bytes sent, the object is removed again and the call fails with
    /// [`crate::base::error::Code::ChecksumMismatch`]. Errors of the source come back with their own code.
    async fn put(&self, key: &str, source: Box<dyn Source>, condition: Condition) -> Result<ObjectMeta>;

    /// Writes an object that does not exist, of a length that shows at its end; else as [`Store::put`]. What the store has not
    /// confirmed is kept in memory, up to a fixed size. An error means that the stream has to begin anew.
    async fn put_stream(&self, key: &str, stream: Box<dyn ByteStream>) -> Result<ObjectMeta>;

    /// Reads an object, or a range of it, as it is at `version` (or now). Ends with an error when fewer bytes arrive than
    /// asked for. `Ok(None)`: no such object.
    async fn get(
        &self,
        key: &str,
        range: Option<Range<u64>>,
        version: Option<&Version>,
    ) -> Result<Option<BoxStream<'static, Result<Bytes>>>>;

    /// What the store says of an object; `None` when there is none.
    async fn head(&self, key: &str) -> Result<Option<ObjectMeta>>;

    /// All objects whose key starts with `prefix`, in the order of their keys.
    async fn list(&self, prefix: &str) -> Result<BoxStream<'static, Result<ObjectMeta>>>;

    /// What lies directly below `prefix`, which ends in `/`. Cheap: what is in its folders is not listed.
    async fn folder(&self, prefix: &str) -> Result<Folder>;

    /// Deletes an object if it still has this version. `Ok(false)`: it was not there any more, or has another version.
    async fn delete(&self, key: &str, version: &Version) -> Result<bool>;

    /// The store as one that signs URLs, if it does.
    fn signing(&self) -> Option<&dyn Signing> {
        None
    }

    /// Checks that the store can be reached, exists and may be read and written, without leaving anything behind.
    async fn check(&self) -> Result<()>;

    /// Number and bytes of files that are being written, or that a killed process left so. They are no objects.
    async fn unfinished(&self) -> Result<(usize, u64)> {
        Ok((0, 0))
    }

    /// Room that is left, in bytes; `None` where there is no limit, or none that is known.
    async fn free_bytes(&self) -> Result<Option<u64>> {
        Ok(None)
    }

    /// Whether any object may be deleted; `None` where that shows only when it is tried.
    async fn may_delete(&self) -> Result<Option<bool>> {
        Ok(None)
    }
}

/// Refuses keys that are not plain paths. They are built from names that others chose, and a manifest can be forged.
fn valid_key(key: &str) -> Result<()> {
    let plain = |segment: &str| !matches!(segment, "" | "." | "..");
    if key.split('/').all(plain) && !key.contains(['\\', '\0', '\n', '\r']) {
        return Ok(());
    }
    Err(Error::new(
        Code::BadRequest,
        format!("{key:?} is not a valid object key"),
    ))
}

/// As [`valid_key`], but the last segment may be incomplete or missing.
fn valid_list_prefix(prefix: &str) -> Result<()> {
    match prefix {
        "" => Ok(()),
        prefix => valid_key(&format!("{prefix}x")),
    }
}

/// A [`Source`] over bytes in memory, for small objects.
pub struct BytesSource {
    bytes: Bytes,
    at: usize,
}

impl BytesSource {
    /// A source over `bytes`.
    pub fn new(bytes: impl Into<Bytes>) -> Self {
        Self {
            bytes: bytes.into(),
            at: 0,
        }
    }
}

#[async_trait]
impl Source for BytesSource {
    fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    async fn next(&mut self) -> Option<Result<Bytes>> {
        let rest = self.bytes.slice(self.at..);
        self.at = self.bytes.len();
        (!rest.is_empty()).then_some(Ok(rest))
    }

    async fn seek(&mut self, offset: u64) -> Result<()> {
        self.at = usize::try_from(offset).unwrap_or(usize::MAX).min(self.bytes.len());
        Ok(())
    }
}
