//! The objects of a backup on their way back: looked up, proven, and read so that a cut costs only what is missing.

use crate::base::error::{Code, Error, Result};
use crate::base::hash::crc32c_append;
use crate::repository::manifest::Artifact;
use crate::wire::store::{ObjectMeta, Source, Store, Version};
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::sleep;

/// Further attempts at a read that makes no progress.
const RETRIES: u32 = 4;
const PAUSE: Duration = Duration::from_millis(200);

/// Compares what the store says of an object with the manifest; the answer is what to read.
pub(super) async fn look_up(store: &dyn Store, artifact: &Artifact) -> Result<ObjectMeta> {
    let Some(meta) = store.head(&artifact.key).await? else {
        return Err(damaged(store, artifact, "is not there"));
    };
    if meta.size != artifact.bytes {
        return Err(damaged(
            store,
            artifact,
            &format!("has {} bytes, the manifest says {}", meta.size, artifact.bytes),
        ));
    }
    if let Some(crc32c) = meta.crc32c {
        compare(store, artifact, crc32c)?;
    }
    Ok(meta)
}

/// Proves the bytes of an object whose store keeps no checksum, by reading them.
pub(super) async fn prove(store: &dyn Store, artifact: &Artifact, meta: &ObjectMeta) -> Result<()> {
    if meta.crc32c.is_some() {
        return Ok(());
    }
    let Some(mut stream) = store.get(&artifact.key, None, Some(&meta.version)).await? else {
        return Err(damaged(store, artifact, "was replaced or deleted while it was checked"));
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
            &format!("has CRC32C {found}, the manifest says {}", artifact.crc32c),
        )),
    }
}

fn damaged(store: &dyn Store, artifact: &Artifact, what: &str) -> Error {
    Error::new(Code::BackupDamaged, format!("{}/{} {what}", store.url(), artifact.key)).remedy(
        "this collection cannot be restored from this backup; take another one, `qdrant-backup list` shows them",
    )
}

/// An object of the store as a body: always of one version, continued by range after a failure.
pub(super) struct ObjectSource {
    store: Arc<dyn Store>,
    key: String,
    version: Version,
    len: u64,
    at: u64,
    /// In a mutex only because a stream is not `Sync` and a source must be; it is never locked by two.
    stream: Option<Mutex<BoxStream<'static, Result<Bytes>>>>,
    failures: u32,
}

impl ObjectSource {
    pub(super) fn new(store: Arc<dyn Store>, meta: &ObjectMeta) -> Self {
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
                        "{}/{} was replaced or deleted while it was read",
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
impl Source for ObjectSource {
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
            tracing::warn!(error = %error, at = self.at, of = self.len, "reading from the store was interrupted; continuing");
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
