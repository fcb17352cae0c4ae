//! Artifacts in the store: the one place that knows how the bytes of one are kept. Today each is one object.
//!
//! They are written through a checked transfer, looked up, proven, and read so that a cut costs only what is missing.

mod divided;

pub(crate) use divided::{ShardSource, divide};

use crate::base::error::{Code, Error, Result};
use crate::base::hash::crc32c_append;
use crate::base::snapshot;
use crate::repository::manifest::{self, Artifact, Collection, Manifest, Storage};
use crate::repository::names::BackupId;
use crate::repository::unit::Unit;
use crate::wire::store::{ByteStream, ObjectMeta, Signing, Source, Store, Version};
use crate::wire::transfer::{self, Digest, Expected, Limits, RateLimiter, Sink};
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::sleep;

/// Further attempts at a read that makes no progress.
const RETRIES: u32 = 4;
const PAUSE: Duration = Duration::from_millis(200);

/// An artifact as the store has it.
#[derive(Clone, Debug)]
pub(crate) struct Blob {
    pub(crate) meta: ObjectMeta,
}

/// Where an artifact goes, and how.
pub(crate) struct Target<'a> {
    pub(crate) store: &'a dyn Store,
    pub(crate) id: BackupId,
    pub(crate) unit: &'a Unit,
    /// Each one's object has it in its name.
    pub(crate) attempt: u32,
    pub(crate) limits: &'a Limits,
    pub(crate) rate: Option<&'a RateLimiter>,
    /// Counts the bytes that have passed.
    pub(crate) done: Arc<AtomicU64>,
}

/// What a manifest says of how an artifact is kept.
pub(crate) struct Written {
    pub(crate) key: String,
    pub(crate) storage: Storage,
    pub(crate) digest: Digest,
    pub(crate) version: Version,
}

/// Stores what `source` has, if it is what is `expected`; nothing is published otherwise.
pub(crate) async fn write(source: Box<dyn Source>, expected: &Expected, target: Target<'_>) -> Result<Written> {
    let key = target.key();
    let Target {
        store,
        limits,
        rate,
        done,
        ..
    } = target;
    let copied = transfer::copy(source, expected, store, &key, limits, rate, done).await?;
    Ok(Written::of(key, copied))
}

/// Stores what `stream` has, if it is a complete snapshot of what is `expected`; nothing is published otherwise.
pub(crate) async fn write_stream(
    stream: Box<dyn ByteStream>,
    expected: snapshot::Expected,
    target: Target<'_>,
) -> Result<Written> {
    let key = target.key();
    let sink = Sink {
        store: target.store,
        key: &key,
        limits: target.limits,
        rate: target.rate,
        on_bytes: target.done,
    };
    let copied = transfer::copy_stream(stream, expected, sink).await?;
    Ok(Written::of(key, copied))
}

impl Target<'_> {
    fn key(&self) -> String {
        let unit = self.unit;
        self.id.artifact(&unit.collection, &unit.kind(), self.attempt)
    }
}

impl Written {
    fn of(key: String, (digest, meta): (Digest, ObjectMeta)) -> Self {
        Self {
            key,
            storage: Storage::Object,
            digest,
            version: meta.version,
        }
    }
}

/// Refuses an artifact that is kept in a way which this version does not know.
///
/// # Errors
/// [`Code::BackupUnsupported`]
pub(crate) fn require_known(artifact: &Artifact) -> Result<()> {
    match &artifact.storage {
        Storage::Object => Ok(()),
        Storage::Other(storage) => Err(Error::new(
            Code::BackupUnsupported,
            format!(
                "{} has storage {storage:?}, which this version cannot read",
                artifact.key
            ),
        )
        .remedy("use the qdrant-backup version that wrote it, or a newer one")),
    }
}

/// What is wrong with the key of an artifact, unless it is one that the backup `id` gives to an object of this collection: what
/// belongs to another one must never be taken for it. Of a way of storing that this version does not know nothing is said.
pub(crate) fn misplaced(artifact: &Artifact, id: &BackupId, collection: &str) -> Option<String> {
    if artifact.storage != Storage::Object || id.is_artifact(&artifact.key, collection, &artifact.kind) {
        return None;
    }
    let own = id.artifact(collection, &artifact.kind, 1);
    Some(format!(
        "the manifest has object {:?} for collection {collection:?}, expected {own:?}",
        artifact.key
    ))
}

/// That `manifest` is the one of the backup `id`, that each artifact is an object of its own collection, and that nothing is in it
/// twice.
///
/// # Errors
/// [`Code::BackupDamaged`]
pub(crate) fn require_places<D>(manifest: &Manifest<D>, id: &BackupId) -> Result<()> {
    manifest.require_place(id)?;
    let of = |c: &Collection<D>| c.artifacts.iter().find_map(|artifact| misplaced(artifact, id, &c.name));
    match manifest.collections.iter().find_map(of) {
        Some(how) => Err(manifest::damaged(id, &how)),
        None => manifest.require_once(manifest.collections.iter().map(|c| &c.name)),
    }
}

/// The bytes of an artifact from beginning to end, all of one version; `None` when there is none.
///
/// # Errors
/// [`Code::StoreConflict`] if it was replaced in between, which may pass.
pub(crate) async fn open(
    store: &dyn Store,
    artifact: &Artifact,
) -> Result<Option<(ObjectMeta, BoxStream<'static, Result<Bytes>>)>> {
    let key = artifact.key.as_str();
    let Some(meta) = store.head(key).await? else {
        return Ok(None);
    };
    match store.get(key, None, Some(&meta.version)).await? {
        Some(stream) => Ok(Some((meta, stream))),
        None => Err(Error::new(Code::StoreConflict, format!("{key} was replaced during the check")).permanent(false)),
    }
}

/// A URL from which anybody may read it for that long.
pub(crate) async fn signed_url(signing: &dyn Signing, blob: &Blob, good_for: Duration) -> Result<String> {
    signing
        .signed_get_url(&blob.meta.key, Some(&blob.meta.version), good_for)
        .await
}

/// Compares what the store says of an artifact with the manifest; the answer is what to read.
pub(crate) async fn look_up(store: &dyn Store, artifact: &Artifact) -> Result<Blob> {
    let Some(meta) = store.head(&artifact.key).await? else {
        return Err(damaged(store, artifact, "is missing"));
    };
    if meta.size != artifact.bytes {
        return Err(damaged(
            store,
            artifact,
            &format!("has {} bytes, expected {} (manifest)", meta.size, artifact.bytes),
        ));
    }
    if let Some(crc32c) = meta.crc32c {
        compare(store, artifact, crc32c)?;
    }
    Ok(Blob { meta })
}

/// Proves the bytes of an object whose store keeps no checksum, by reading them.
pub(crate) async fn prove(store: &dyn Store, artifact: &Artifact, blob: &Blob) -> Result<()> {
    let meta = &blob.meta;
    if meta.crc32c.is_some() {
        return Ok(());
    }
    let Some(mut stream) = store.get(&artifact.key, None, Some(&meta.version)).await? else {
        return Err(damaged(store, artifact, "was replaced or deleted during the check"));
    };
    let mut crc32c = 0;
    while let Some(chunk) = stream.next().await {
        crc32c = crc32c_append(crc32c, &chunk?);
    }
    compare(store, artifact, crc32c)
}

fn compare(store: &dyn Store, artifact: &Artifact, crc32c: u32) -> Result<()> {
    let found = format!("{crc32c:08x}");
    match found.eq_ignore_ascii_case(&artifact.crc32c) {
        true => Ok(()),
        false => Err(damaged(
            store,
            artifact,
            &format!("has CRC32C {found}, expected {} (manifest)", artifact.crc32c),
        )),
    }
}

fn damaged(store: &dyn Store, artifact: &Artifact, what: &str) -> Error {
    Error::new(Code::BackupDamaged, format!("{}/{} {what}", store.url(), artifact.key))
        .remedy("restore this collection from another backup: `qdrant-backup list` shows them")
}

/// An object of the store as a body: always of one version, continued by range after a failure.
pub(crate) struct BlobSource {
    store: Arc<dyn Store>,
    key: String,
    version: Version,
    len: u64,
    at: u64,
    /// In a mutex only because a stream is not `Sync` and a source must be; it is never locked by two.
    stream: Option<Mutex<BoxStream<'static, Result<Bytes>>>>,
    failures: u32,
}

impl BlobSource {
    pub(crate) fn new(store: Arc<dyn Store>, Blob { meta }: &Blob) -> Self {
        Self {
            store,
            key: meta.key.clone(),
            version: meta.version.clone(),
            len: meta.size,
            at: 0,
            stream: None,
            failures: 0,
        }
    }

    async fn step(&mut self) -> Result<Bytes> {
        if self.stream.is_none() {
            let range = (self.at > 0).then_some(self.at..self.len);
            let Some(stream) = self.store.get(&self.key, range, Some(&self.version)).await? else {
                return Err(Error::new(
                    Code::BackupDamaged,
                    format!(
                        "{}/{} was replaced or deleted during the read",
                        self.store.url(),
                        self.key
                    ),
                ));
            };
            self.stream = Some(Mutex::new(stream));
        }
        let next = match &mut self.stream {
            Some(stream) => stream.get_mut().unwrap_or_else(PoisonError::into_inner).next().await,
            None => None,
        };
        match next {
            Some(chunk) => chunk,
            None => Err(Error::new(
                Code::LengthMismatch,
                format!(
                    "{}/{} ended after {} of {} bytes",
                    self.store.url(),
                    self.key,
                    self.at,
                    self.len
                ),
            )),
        }
    }
}

#[async_trait]
impl Source for BlobSource {
    fn len(&self) -> u64 {
        self.len
    }

    async fn next(&mut self) -> Option<Result<Bytes>> {
        while self.at < self.len {
            let error = match self.step().await {
                Ok(chunk) if chunk.is_empty() => continue,
                Ok(chunk) => {
                    self.at += chunk.len() as u64;
                    self.failures = 0;
                    return Some(Ok(chunk));
                }
                Err(e) => e,
            };
            self.stream = None;
            if error.is_permanent() || self.failures >= RETRIES {
                return Some(Err(error));
            }
            tracing::warn!(error = %error, at = self.at, of = self.len, "read from the store interrupted; continuing");
            sleep(PAUSE * 2_u32.pow(self.failures)).await;
            self.failures += 1;
        }
        None
    }

    async fn seek(&mut self, offset: u64) -> Result<()> {
        if offset != self.at {
            self.stream = None;
            self.at = offset.min(self.len);
        }
        Ok(())
    }
}
