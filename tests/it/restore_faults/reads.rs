//! Reading back from a store that breaks off, or whose bytes are not those of the backup.

use bytes::Bytes;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use qdrant_backup::base::error::{Code, Error, Result};
use qdrant_backup::ops::restore::RestoreOutcome;
use qdrant_backup::wire::store::{ObjectMeta, Store};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use testkit::faulty::Faulty;
use testkit::lost::LONG;
use testkit::lost::Lost;
use testkit::lost::edit;
use tokio::sync::Semaphore;
use tokio::time::timeout;

/// Long enough for what happens at once.
const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::test]
async fn an_object_that_changes_after_the_check_never_reaches_qdrant_whole() {
    let mut lost = Lost::new().await;
    (lost.bench.ctx.store, _) = reading(&lost, |mut bytes| {
        *bytes.last_mut().unwrap() ^= 1;
        vec![Ok(bytes.into())]
    });
    let broken = lost.peer.broken_uploads();
    let report = lost.run(&lost.request()).await.unwrap();
    let failed = &report.failed[0];
    assert_eq!(failed.error.code, Code::ChecksumMismatch, "{failed:?}");
    // Of the bytes that were saved, and of those that were read.
    let saved = std::fs::read(lost.object("a")).unwrap();
    let mut read = saved.clone();
    *read.last_mut().unwrap() ^= 1;
    for bytes in [saved, read] {
        let crc = format!("{:08x}", crc32c::crc32c(&bytes));
        assert!(failed.error.message.contains(&crc), "{crc}: {failed:?}");
    }
    assert!(failed.state.starts_with("it does not exist"), "{failed:?}");
    only_one(&broken).await;
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
    // The peer says so, as Qdrant does.
    assert_eq!(failed.error.code, Code::QdrantFailed, "{failed:?}");
    assert!(
        failed.error.message.contains("checksum mismatch") && failed.state.starts_with("it does not exist"),
        "{failed:?}"
    );
}

/// A store whose reads of snapshots go through `read`, and that knows the CRC32C of what lies there, as a bucket does, so that
/// the only reads are those of the upload. Also counts them.
fn reading(
    lost: &Lost,
    read: impl Fn(Vec<u8>) -> Vec<Result<Bytes>> + Clone + Send + Sync + 'static,
) -> (Arc<dyn Store>, Arc<AtomicUsize>) {
    let reads = Arc::new(AtomicUsize::new(0));
    let (counted, dir) = (reads.clone(), lost.bench.dir.path().to_owned());
    let store = Faulty::over(&lost.bench.ctx.store)
        .on_head(move |meta| match meta.key.ends_with(".snapshot") {
            true => ObjectMeta {
                crc32c: Some(crc32c::crc32c(&std::fs::read(dir.join(&meta.key)).unwrap())),
                ..meta
            },
            false => meta,
        })
        .on_get(move |key, stream| {
            let (read, counted) = (read.clone(), counted.clone());
            async move {
                if !key.ends_with(".snapshot") {
                    return Ok(Some(stream));
                }
                counted.fetch_add(1, Ordering::Relaxed);
                let all: Vec<Bytes> = stream.try_collect().await?;
                Ok(Some(stream::iter(read(all.concat())).boxed()))
            }
        });
    (store.build(), reads)
}

/// Reads break off after so many bytes.
fn cut(after: usize) -> impl Fn(Vec<u8>) -> Vec<Result<Bytes>> + Clone {
    move |bytes| {
        let bytes = Bytes::from(bytes);
        match bytes.len() <= after {
            true => vec![Ok(bytes)],
            false => vec![
                Ok(bytes.slice(..after)),
                Err(Error::new(Code::StoreUnreachable, "scripted cut")),
            ],
        }
    }
}

#[tokio::test]
async fn a_read_that_is_cut_goes_on_where_it_was_and_one_that_makes_no_progress_is_given_up() {
    let mut lost = Lost::new().await;
    let (store, reads) = reading(&lost, cut(1_000_000));
    lost.bench.ctx.store = store;
    let report = lost.run(&lost.request()).await.unwrap();
    assert_eq!(report.status, RestoreOutcome::Complete, "{report:?}");
    assert_eq!(reads.load(Ordering::Relaxed), 4, "three cuts of 3 MiB, and the rest");

    let mut lost = Lost::new().await;
    (lost.bench.ctx.store, _) = reading(&lost, cut(0));
    let broken = lost.peer.broken_uploads();
    let report = lost.run(&lost.request()).await.unwrap();
    let failed = &report.failed[0];
    assert_eq!(
        (failed.error.code, failed.state.as_str()),
        (Code::StoreUnreachable, "it does not exist")
    );
    only_one(&broken).await;
}

/// Of all uploads one ended early: its last chunk was held back.
async fn only_one(broken: &Semaphore) {
    let seen = timeout(PATIENCE, broken.acquire()).await.expect("the peer sees it");
    seen.unwrap().forget();
    assert_eq!(broken.available_permits(), 0, "another one");
}
