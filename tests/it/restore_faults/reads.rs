//! Reading back from a store that breaks off, or whose bytes are not those of the backup.

use crate::restore_faults::LONG;
use crate::restore_faults::Lost;
use crate::restore_faults::edit;
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt, TryStreamExt};
use qdrant_backup::base::error::{Code, Error, Result};
use qdrant_backup::ops::restore::Outcome;
use qdrant_backup::repository::manifest;
use qdrant_backup::wire::store::{Condition, ObjectMeta, Source, Store, Version};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

#[tokio::test]
async fn an_object_that_changes_after_the_check_never_reaches_qdrant_whole() {
    let mut lost = Lost::new().await;
    lost.bench.ctx.store = Arc::new(Flaky {
        flips: true,
        ..Flaky::new(&lost, usize::MAX)
    });
    let report = lost.run(&lost.request()).await.unwrap();
    let failed = &report.failed[0];
    assert_eq!(failed.code, Code::ChecksumMismatch, "{failed:?}");
    assert!(
        failed.message.contains("CRC32C of the bytes read is")
            && failed.message.contains("the manifest says")
            && failed.state.starts_with("it does not exist"),
        "{failed:?}"
    );
    assert_eq!(lost.peer.lock().broken_uploads, 1, "the last chunk was held back");
}

#[tokio::test]
async fn bytes_whose_crc32c_happens_to_be_right_are_refused_by_qdrant() {
    let lost = Lost::new().await;
    // Same length, and a manifest whose CRC32C is that of the wrong bytes: only the SHA-256 can tell.
    edit(&lost.object("a"), |bytes| bytes[LONG - 1] ^= 1);
    let bytes = std::fs::read(lost.object("a")).unwrap();
    let crc = format!("{:08x}", crc32c::crc32c(&bytes));
    edit(&lost.manifest(), |bytes| {
        let mut manifest: serde_json::Value = serde_json::from_slice(bytes).unwrap();
        manifest["collections"][0]["artifacts"][0]["crc32c"] = crc.into();
        *bytes = manifest.to_string().into();
    });
    let report = lost.run(&lost.request()).await.unwrap();
    let failed = &report.failed[0];
    assert!(
        failed.message.contains("checksum mismatch") && failed.state.starts_with("it does not exist"),
        "{failed:?}"
    );
}

/// A store whose reads of snapshots break off after every so many bytes, or have another last byte.
#[derive(Debug)]
struct Flaky {
    inner: Arc<dyn Store>,
    after: usize,
    flips: bool,
    cuts: AtomicUsize,
}

impl Flaky {
    fn new(lost: &Lost, after: usize) -> Self {
        Self {
            inner: lost.bench.ctx.store.clone(),
            after,
            flips: false,
            cuts: AtomicUsize::new(0),
        }
    }
}

#[async_trait]
impl Store for Flaky {
    fn url(&self) -> String {
        self.inner.url()
    }

    async fn put(&self, key: &str, source: Box<dyn Source>, condition: Condition) -> Result<ObjectMeta> {
        self.inner.put(key, source, condition).await
    }

    async fn get(
        &self,
        key: &str,
        range: Option<Range<u64>>,
        version: Option<&Version>,
    ) -> Result<Option<BoxStream<'static, Result<Bytes>>>> {
        let Some(stream) = self.inner.get(key, range, version).await? else {
            return Ok(None);
        };
        if !key.ends_with(".snapshot") {
            return Ok(Some(stream));
        }
        self.cuts.fetch_add(1, Ordering::Relaxed);
        let all: Vec<Bytes> = stream.try_collect().await?;
        let mut bytes = all.concat();
        if let (true, Some(last)) = (self.flips, bytes.last_mut()) {
            *last ^= 1;
        }
        let bytes = Bytes::from(bytes);
        let chunks = match bytes.len() <= self.after {
            true => vec![Ok(bytes)],
            false => vec![
                Ok(bytes.slice(..self.after)),
                Err(Error::new(Code::StoreUnreachable, "scripted cut")),
            ],
        };
        Ok(Some(stream::iter(chunks).boxed()))
    }

    async fn head(&self, key: &str) -> Result<Option<ObjectMeta>> {
        let meta = self.inner.head(key).await?;
        // As a bucket does, so that the only reads are those of the upload.
        let crc = match key.ends_with(".snapshot") {
            true => manifest::read_small(&*self.inner, key, u64::MAX)
                .await?
                .map(|bytes| crc32c::crc32c(&bytes)),
            false => None,
        };
        Ok(meta.map(|m| ObjectMeta { crc32c: crc, ..m }))
    }

    async fn list(&self, prefix: &str) -> Result<BoxStream<'static, Result<ObjectMeta>>> {
        self.inner.list(prefix).await
    }

    async fn folders(&self, prefix: &str) -> Result<Vec<String>> {
        self.inner.folders(prefix).await
    }

    async fn delete(&self, key: &str, version: &Version) -> Result<bool> {
        self.inner.delete(key, version).await
    }

    async fn check(&self) -> Result<()> {
        self.inner.check().await
    }
}

#[tokio::test]
async fn a_read_that_is_cut_goes_on_where_it_was_and_one_that_makes_no_progress_is_given_up() {
    let mut lost = Lost::new().await;
    let flaky = Arc::new(Flaky::new(&lost, 1_000_000));
    lost.bench.ctx.store = flaky.clone();
    let report = lost.run(&lost.request()).await.unwrap();
    assert_eq!(report.status, Outcome::Complete, "{report:?}");
    assert_eq!(
        flaky.cuts.load(Ordering::Relaxed),
        4,
        "three cuts of 3 MiB, and the rest"
    );

    let mut lost = Lost::new().await;
    lost.bench.ctx.store = Arc::new(Flaky::new(&lost, 0));
    let report = lost.run(&lost.request()).await.unwrap();
    let failed = &report.failed[0];
    assert_eq!(
        (failed.code, failed.state.as_str()),
        (Code::StoreUnreachable, "it does not exist")
    );
    assert_eq!(lost.peer.lock().broken_uploads, 1);
}
