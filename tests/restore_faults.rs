//! What a restore does when the store, Qdrant, or what lies between, misbehaves: each fault is caught, with its code and its
//! words, and nothing is claimed that is not true. The matrix is printed as a table.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt, TryStreamExt};
use qdrant_backup::error::{Code, Error, Result};
use qdrant_backup::manifest::{self, Selection};
use qdrant_backup::progress::Progress;
use qdrant_backup::restore::{self, Outcome, Patience, Report, Request};
use qdrant_backup::store::{Condition, ObjectMeta, Source, Store, Version};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use support::peer::{Peer, Upload};
use support::process::{command, finish};
use support::run::Bench;
use tokio::sync::Semaphore;

/// Longer than one chunk of any buffer on the way.
const LONG: usize = 3 << 20;

/// A peer whose collections `a` and `b` are backed up and then deleted, `a` with its alias `live`.
struct Lost {
    peer: Peer,
    bench: Bench,
    id: String,
}

impl Lost {
    async fn new() -> Self {
        let peer = Peer::start(&[("a", LONG), ("b", LONG)]).await;
        peer.lock().aliases.push(("live".into(), "a".into()));
        let bench = Bench::new(&peer.url).await;
        let id = bench.run().await.unwrap().id.to_string();
        let mut inner = peer.lock();
        inner.collections.clear();
        inner.aliases.clear();
        inner.log.clear();
        drop(inner);
        Self { peer, bench, id }
    }

    fn request(&self) -> Request {
        Request {
            id: self.id.clone(),
            selection: Selection { collections: vec!["a".into()], ..Selection::default() },
            patience: Patience {
                converge: Duration::from_millis(50),
                green: Duration::from_millis(50),
                poll: Duration::from_millis(5),
            },
            ..Request::default()
        }
    }

    async fn run(&self, request: &Request) -> Result<Report> {
        restore::run(&self.bench.ctx, request, &Progress::new(self.bench.ctx.clock.now()), &self.bench.cancel).await
    }

    fn object(&self, collection: &str) -> PathBuf {
        self.bench.dir.path().join(format!("backups/{}/{collection}/collection.snapshot", self.id))
    }

    fn manifest(&self) -> PathBuf {
        self.bench.dir.path().join(format!("backups/{}/manifest.json", self.id))
    }

    fn upload(&self, script: Upload) {
        self.peer.lock().upload.push_back(script);
    }

    /// Nothing on the peer was changed, and the lease was given back.
    fn untouched(&self) {
        assert_eq!(self.peer.requests("/snapshots/upload"), 0, "an upload was begun");
        assert!(self.peer.lock().collections.is_empty());
        assert!(!self.bench.dir.path().join("lock.json").exists());
    }
}

fn edit(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = std::fs::read(path).unwrap();
    change(&mut bytes);
    std::fs::write(path, bytes).unwrap();
}

/// One line of the matrix.
struct Line {
    fault: &'static str,
    error: Error,
    said: String,
    /// What the report says the collection is like; none when the restore was refused.
    state: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Changed {
    Nothing,
    Perhaps,
}

/// Restores `a`; it must fail with this code (of the collection, if it got so far) and these words.
async fn caught(fault: &'static str, lost: &Lost, request: &Request, code: Code, words: &[&str], changed: Changed) -> Line {
    let result = lost.run(request).await;
    let said;
    let (error, state, told) = match result {
        Err(error) => {
            said = format!("{}: {}", error.code(), error.chain());
            (error, None, String::new())
        }
        Ok(report) => {
            assert_ne!(report.status, Outcome::Complete, "{fault}: {report:?}");
            assert!(report.collections.iter().all(|c| c.source != "a"), "{fault}: called restored: {report:?}");
            assert!(report.aliases.is_empty(), "{fault}: {report:?}");
            let failed = report.failed.iter().find(|f| f.source == "a").unwrap();
            assert_eq!(failed.code, code, "{fault}: {failed:?}");
            let command = format!("qdrant-backup restore {} a", lost.id);
            assert!(failed.next.starts_with(&command) || failed.next.contains("POST"), "{fault}: {failed:?}");
            said = format!("{}: {}", failed.code, failed.message);
            (report.error().unwrap(), Some(failed.state.clone()), format!("{failed:?}"))
        }
    };
    let text = format!("{error} {told}");
    for word in words {
        assert!(text.contains(word), "{fault}: no {word:?} in: {text}");
    }
    if state.is_none() {
        assert_eq!(error.code(), code, "{fault}: {error}");
    } else {
        assert_eq!(error.code(), Code::RestoreFailed, "{fault}: {error}");
    }
    if changed == Changed::Nothing {
        if state.is_none() {
            lost.untouched();
        }
        assert!(!lost.peer.lock().collections.contains_key("a"), "{fault}: there is something");
    }
    assert!(lost.peer.snapshots("a").is_empty(), "{fault}: the uploaded file is still there");
    assert!(!lost.bench.dir.path().join("lock.json").exists(), "{fault}: the lease is still held");
    // The directory is another one each time.
    let said = said.replace(&lost.bench.ctx.store.url(), "file://…").replace(&lost.id, "ID");
    Line { fault, error, said, state }
}

#[tokio::test]
async fn every_fault_is_caught_and_told() {
    use Changed::{Nothing, Perhaps};
    let mut lines = Vec::new();

    // The store.
    let lost = Lost::new().await;
    std::fs::remove_file(lost.object("a")).unwrap();
    lines.push(caught("missing object", &lost, &lost.request(), Code::BackupDamaged, &["a/collection.snapshot is not there"], Nothing).await);

    let lost = Lost::new().await;
    edit(&lost.object("a"), |bytes| bytes.truncate(LONG - 1));
    lines.push(caught("truncated object", &lost, &lost.request(), Code::BackupDamaged, &["has 3145727 bytes, the manifest says 3145728"], Nothing).await);

    let lost = Lost::new().await;
    edit(&lost.object("a"), |bytes| bytes[LONG / 2] ^= 1);
    lines.push(caught("flipped bit", &lost, &lost.request(), Code::BackupDamaged, &["CRC32C", "the manifest says"], Nothing).await);

    let lost = Lost::new().await;
    let (a, b) = (std::fs::read(lost.object("a")).unwrap(), std::fs::read(lost.object("b")).unwrap());
    std::fs::write(lost.object("a"), b).unwrap();
    std::fs::write(lost.object("b"), a).unwrap();
    lines.push(caught("swapped objects", &lost, &lost.request(), Code::BackupDamaged, &["CRC32C"], Nothing).await);

    let lost = Lost::new().await;
    edit(&lost.manifest(), |bytes| *bytes = String::from_utf8(bytes.clone()).unwrap().replacen("\"format\": 1", "\"format\": 2", 1).into());
    lines.push(caught("newer manifest", &lost, &lost.request(), Code::BackupDamaged, &["format 2", "newer one"], Nothing).await);

    let lost = Lost::new().await;
    edit(&lost.manifest(), |bytes| *bytes = String::from_utf8(bytes.clone()).unwrap().replacen(&lost.id, "2020-01-01T00-00-00Z", 1).into());
    lines.push(caught("another backup's manifest", &lost, &lost.request(), Code::BackupDamaged, &["is that of backup 2020-01-01"], Nothing).await);

    let lost = Lost::new().await;
    let forged = format!("backups/{}/../../secret", lost.id);
    let key = format!("backups/{}/a/collection.snapshot", lost.id);
    edit(&lost.manifest(), |bytes| *bytes = String::from_utf8(bytes.clone()).unwrap().replacen(&key, &forged, 1).into());
    lines.push(caught("forged key", &lost, &lost.request(), Code::BackupDamaged, &["no part of backup"], Nothing).await);

    // The target, before anything is changed.
    let lost = Lost::new().await;
    lost.peer.lock().version = Some("1.18.2");
    lines.push(caught("older Qdrant", &lost, &lost.request(), Code::RestoreRefused, &["1.18.3", "1.18.2", "older"], Nothing).await);

    let lost = Lost::new().await;
    lost.peer.lock().may_not_manage = true;
    lines.push(caught("key with too few rights", &lost, &lost.request(), Code::QdrantForbidden, &["manage"], Nothing).await);

    // The way, and the target in mid-restore.
    let lost = Lost::new().await;
    lost.upload(Upload::Forbidden);
    lines.push(caught("target forbids the upload", &lost, &lost.request(), Code::QdrantForbidden, &["manage", "does not exist"], Nothing).await);

    let lost = Lost::new().await;
    lost.upload(Upload::Full);
    lines.push(caught("target full", &lost, &lost.request(), Code::QdrantFailed, &["No space left on device", "does not exist"], Nothing).await);

    let lost = Lost::new().await;
    lost.upload(Upload::CutAfter(1 << 20));
    lines.push(caught("cut in mid-restore", &lost, &lost.request(), Code::QdrantUnreachable, &["does not exist"], Nothing).await);

    let lost = Lost::new().await;
    lost.upload(Upload::AnswerLost);
    lines.push(caught("answer lost", &lost, &lost.request(), Code::QdrantUnreachable, &["it exists with 100 points", "--overwrite"], Perhaps).await);

    let lost = Lost::new().await;
    lost.upload(Upload::FlipBit);
    lines.push(caught("wrong checksum", &lost, &lost.request(), Code::QdrantFailed, &["checksum mismatch", "does not exist"], Nothing).await);

    // 200, and yet.
    let lost = Lost::new().await;
    lost.upload(Upload::Empty);
    lines.push(caught("200 with zero points", &lost, &lost.request(), Code::RestoreUnequal, &["it has 0 points, the backup has 100 points"], Perhaps).await);

    let lost = Lost::new().await;
    lost.upload(Upload::Dead);
    lines.push(caught("200 with a dead shard", &lost, &lost.request(), Code::RestoreUnequal, &["shard 0 is Dead"], Perhaps).await);

    let lost = Lost::new().await;
    lost.upload(Upload::OtherConfig);
    lines.push(caught("200 with another config", &lost, &lost.request(), Code::RestoreUnequal, &["config.params.vectors.size is 4 in the backup and 8 on Qdrant"], Perhaps).await);

    let lost = Lost::new().await;
    lost.upload(Upload::Unreadable);
    lines.push(caught("200 with unreadable points", &lost, &lost.request(), Code::RestoreUnequal, &["0 points could be read of the first 100"], Perhaps).await);

    let lost = Lost::new().await;
    lost.peer.lock().forgets_aliases = true;
    lines.push(caught("lost alias", &lost, &lost.request(), Code::RestoreUnequal, &["alias \"live\" does not exist", "100 points", "POST"], Perhaps).await);

    table(&lines);
}

fn table(lines: &[Line]) {
    println!("| fault | exit | HTTP | what is said | the collection now |");
    println!("|---|---|---|---|---|");
    for Line { fault, error, said, state } in lines {
        let (exit, status) = (error.exit_code(), error.http_status());
        let state = state.as_deref().unwrap_or("untouched: nothing was begun");
        println!("| {fault} | {exit} | {status} | {} | {state} |", said.replace('|', "/"));
    }
}

#[tokio::test]
async fn a_whole_restore_is_told_as_one() {
    let lost = Lost::new().await;
    let report = lost.run(&lost.request()).await.unwrap();
    assert_eq!(report.status, Outcome::Complete, "{report:?}");
    assert!(report.error().is_none());
    assert_eq!((report.collections[0].points, report.collections[0].sampled), (100, 100));
    assert_eq!(report.aliases, ["live"]);
    assert_eq!(lost.peer.snapshots("a"), [""; 0], "the uploaded file is deleted");
    assert!(!lost.bench.dir.path().join("lock.json").exists());
}

#[tokio::test]
async fn an_object_that_changes_after_the_check_never_reaches_qdrant_whole() {
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
    assert_eq!(failed.code, Code::ChecksumMismatch, "{failed:?}");
    assert!(failed.message.contains("the manifest says") && failed.state == "it does not exist", "{failed:?}");
    assert_eq!(lost.peer.lock().broken_uploads, 1, "the last chunk was held back");
}

#[tokio::test]
async fn if_one_fails_the_others_are_restored_and_told_apart() {
    let lost = Lost::new().await;
    lost.upload(Upload::Full);
    let request = Request { selection: Selection::default(), ..lost.request() };
    let report = lost.run(&request).await.unwrap();
    assert_eq!(report.status, Outcome::Partial);
    assert_eq!((report.collections[0].source.as_str(), report.failed[0].source.as_str()), ("b", "a"));
    let error = report.error().unwrap();
    assert_eq!((error.code(), error.exit_code(), error.http_status()), (Code::RestoreFailed, 12, 502));
    assert!(error.to_string().contains("1 of 2"), "{error}");
}

#[tokio::test]
async fn a_swap_that_fails_moves_nothing() {
    let lost = Lost::new().await;
    {
        let mut inner = lost.peer.lock();
        inner.collections.entry("a".into()).or_default().points = 7;
        inner.aliases.push(("live".into(), "a".into()));
        inner.aliases.push(("newer".into(), "a".into()));
    }
    lost.upload(Upload::Empty);
    let request = Request { swap: true, ..lost.request() };
    let report = lost.run(&request).await.unwrap();
    assert_eq!(report.status, Outcome::Failed, "{report:?}");
    assert!(report.warnings.iter().any(|w| w.contains("no alias was moved")), "{report:?}");
    let before = [("live".to_owned(), "a".to_owned()), ("newer".to_owned(), "a".to_owned())];
    assert_eq!(lost.peer.lock().aliases, before);
    assert_eq!(lost.peer.requests("POST /collections/aliases"), 0);

    let report = lost.run(&request).await.unwrap();
    assert_eq!(report.status, Outcome::Complete, "{report:?}");
    assert_eq!(lost.peer.requests("POST /collections/aliases"), 1, "all aliases in one operation");
    assert_eq!(report.aliases, ["live", "newer"]);
    assert_eq!(report.replaced, ["a"]);
    assert_eq!(lost.peer.lock().collections["a"].points, 7, "the old one stays");
}

#[tokio::test]
async fn an_alias_that_points_elsewhere_is_a_conflict_and_moved_only_when_told() {
    let lost = Lost::new().await;
    lost.peer.lock().collections.entry("other".into()).or_default();
    lost.peer.lock().aliases.push(("live".into(), "other".into()));
    let report = lost.run(&lost.request()).await.unwrap();
    assert_eq!(report.status, Outcome::Complete);
    assert!(report.warnings.iter().any(|w| w.contains("points to \"other\"") && w.contains("--move-aliases")), "{report:?}");
    assert_eq!(lost.peer.lock().aliases, [("live".to_owned(), "other".to_owned())]);
    let request = Request { overwrite: true, move_aliases: true, ..lost.request() };
    let report = lost.run(&request).await.unwrap();
    assert_eq!(report.aliases, ["live"]);
    assert_eq!(lost.peer.lock().aliases, [("live".to_owned(), "a".to_owned())]);
}

#[tokio::test]
async fn a_target_of_another_shape_is_refused_and_of_another_tuning_kept() {
    let lost = Lost::new().await;
    lost.peer.lock().collections.entry("a".into()).or_default().size = Some(8);
    let request = Request { overwrite: true, ..lost.request() };
    let error = lost.run(&request).await.unwrap_err();
    assert_eq!(error.code(), Code::RestoreRefused);
    assert!(error.to_string().contains("another shape"), "{error}");
    assert_eq!(lost.peer.requests("/snapshots/upload"), 0);
}

#[tokio::test]
async fn the_next_release_may_have_fields_of_its_own_and_the_same_release_may_not() {
    let lost = Lost::new().await;
    lost.upload(Upload::NewField);
    let failed = &lost.run(&lost.request()).await.unwrap().failed[0];
    assert_eq!(failed.code, Code::RestoreUnequal);
    assert!(failed.message.contains("config.new_field"), "{failed:?}");

    let lost = Lost::new().await;
    lost.peer.lock().version = Some("1.19.0");
    lost.upload(Upload::NewField);
    let report = lost.run(&lost.request()).await.unwrap();
    assert_eq!(report.status, Outcome::Complete, "{report:?}");
    assert!(report.collections[0].notes[0].contains("config.new_field"), "{report:?}");
    let lost = Lost::new().await;
    lost.peer.lock().version = Some("1.19.0");
    lost.upload(Upload::OtherConfig);
    assert_eq!(lost.run(&lost.request()).await.unwrap().failed[0].code, Code::RestoreUnequal);
}

/// A store whose reads of snapshots break off after every so many bytes.
#[derive(Debug)]
struct Flaky {
    inner: Arc<dyn Store>,
    after: usize,
    cuts: AtomicUsize,
}

#[async_trait]
impl Store for Flaky {
    fn url(&self) -> String {
        self.inner.url()
    }

    async fn put(&self, key: &str, source: Box<dyn Source>, condition: Condition) -> Result<ObjectMeta> {
        self.inner.put(key, source, condition).await
    }

    async fn get(&self, key: &str, range: Option<Range<u64>>, version: Option<&Version>) -> Result<Option<BoxStream<'static, Result<Bytes>>>> {
        let Some(stream) = self.inner.get(key, range, version).await? else {
            return Ok(None);
        };
        if !key.ends_with(".snapshot") {
            return Ok(Some(stream));
        }
        self.cuts.fetch_add(1, Ordering::Relaxed);
        let all: Vec<Bytes> = stream.try_collect().await?;
        let bytes = Bytes::from(all.concat());
        let chunks = match bytes.len() <= self.after {
            true => vec![Ok(bytes)],
            false => vec![Ok(bytes.slice(..self.after)), Err(Error::new(Code::StoreUnreachable, "scripted cut"))],
        };
        Ok(Some(stream::iter(chunks).boxed()))
    }

    async fn head(&self, key: &str) -> Result<Option<ObjectMeta>> {
        let meta = self.inner.head(key).await?;
        // As a bucket does, so that the only reads are those of the upload.
        let crc = match key.ends_with(".snapshot") {
            true => manifest::read_small(&*self.inner, key, u64::MAX).await?.map(|bytes| crc32c::crc32c(&bytes)),
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
    let flaky = Arc::new(Flaky {
        inner: lost.bench.ctx.store.clone(),
        after: 1_000_000,
        cuts: AtomicUsize::new(0),
    });
    lost.bench.ctx.store = flaky.clone();
    let report = lost.run(&lost.request()).await.unwrap();
    assert_eq!(report.status, Outcome::Complete, "{report:?}");
    assert_eq!(flaky.cuts.load(Ordering::Relaxed), 4, "three cuts of 3 MiB, and the rest");

    let mut lost = Lost::new().await;
    lost.bench.ctx.store = Arc::new(Flaky {
        inner: lost.bench.ctx.store.clone(),
        after: 0,
        cuts: AtomicUsize::new(0),
    });
    let report = lost.run(&lost.request()).await.unwrap();
    let failed = &report.failed[0];
    assert_eq!((failed.code, failed.state.as_str()), (Code::StoreUnreachable, "it does not exist"));
    assert_eq!(lost.peer.lock().broken_uploads, 1);
}

#[tokio::test]
async fn a_collection_that_appears_after_the_plan_is_left_alone() {
    let lost = Lost::new().await;
    let peer = lost.peer.clone();
    // While `a` is compared; the plan has been made by then.
    lost.peer.lock().on_count = Some(Box::new(move || {
        peer.lock().collections.entry("b".into()).or_default().points = 3;
    }));
    let request = Request { selection: Selection::default(), ..lost.request() };
    let report = lost.run(&request).await.unwrap();
    let failed = &report.failed[0];
    assert_eq!((failed.source.as_str(), failed.code), ("b", Code::RestoreRefused), "{report:?}");
    assert!(failed.message.contains("since the plan was made") && failed.state.contains("3 points"), "{failed:?}");
    assert_eq!(lost.peer.requests("/collections/b/snapshots/upload"), 0);
}

#[tokio::test]
async fn told_to_stop_it_says_what_is_there() {
    let lost = Lost::new().await;
    let reached = Arc::new(Semaphore::new(0));
    lost.upload(Upload::Held { reached: reached.clone() });
    let stop = async {
        reached.acquire().await.unwrap().forget();
        lost.bench.cancel.cancel();
    };
    let request = Request { selection: Selection::default(), ..lost.request() };
    let (result, ()) = tokio::join!(lost.run(&request), stop);
    let report = result.unwrap();
    let error = report.error().unwrap();
    assert_eq!(report.failed[1].state, "as it was: it was not begun");
    assert_eq!((error.code(), error.exit_code()), (Code::Cancelled, 10));
    assert_eq!(report.failed[0].state, "it does not exist, and Qdrant may still be at work on it");
    assert!(!lost.bench.dir.path().join("lock.json").exists());
}

#[tokio::test]
async fn a_backup_and_a_restore_never_work_at_once() {
    let lost = Lost::new().await;
    let reached = Arc::new(Semaphore::new(0));
    lost.upload(Upload::Held { reached: reached.clone() });
    let meanwhile = async {
        reached.acquire().await.unwrap().forget();
        let backup = lost.bench.run().await.unwrap_err();
        let second = lost.run(&lost.request()).await.unwrap_err();
        lost.bench.cancel.cancel();
        (backup, second)
    };
    let request = lost.request();
    let (_, (backup, second)) = tokio::join!(lost.run(&request), meanwhile);
    assert_eq!((backup.code(), second.code()), (Code::RunInProgress, Code::RunInProgress));
}

#[tokio::test]
async fn a_partial_backup_is_restorable_for_what_it_has() {
    let peer = Peer::start(&[("a", 1000), ("b", 1000)]).await;
    peer.on_create("b", [support::peer::Create::Forbidden]);
    let bench = Bench::new(&peer.url).await;
    let id = bench.run().await.unwrap().id.to_string();
    peer.lock().collections.clear();
    let lost = Lost { peer, bench, id };
    let report = lost.run(&Request { selection: Selection::default(), ..lost.request() }).await.unwrap();
    assert_eq!(report.status, Outcome::Complete);
    assert!(report.warnings.iter().any(|w| w.contains("partial") && w.contains("\"b\"")), "{report:?}");
    let request = Request { selection: Selection { collections: vec!["b".into()], ..Selection::default() }, ..lost.request() };
    let error = lost.run(&request).await.unwrap_err();
    assert_eq!(error.code(), Code::CollectionNotFound);
    assert!(error.to_string().contains("could not be saved"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_exit_code_says_what_happened() {
    let lost = Lost::new().await;
    let run = async |args: &[&str]| finish(command(args, &lost.peer.url, lost.bench.dir.path()).spawn().unwrap()).await;
    lost.upload(Upload::Full);
    let (code, out, err) = run(&["restore", "latest", "a", "--json"]).await;
    assert_eq!(code, Some(12), "{out}{err}");
    let report: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((report["status"].as_str(), report["failed"][0]["state"].as_str()), (Some("failed"), Some("it does not exist")));
    let (code, out, err) = run(&["restore", "latest", "a"]).await;
    assert_eq!(code, Some(0), "{out}{err}");
    let (code, out, err) = run(&["restore", "latest"]).await;
    assert_eq!(code, Some(11), "{out}{err}");
    assert!(out.contains("REFUSED") && err.contains("--overwrite"), "{out}{err}");
    edit(&lost.object("b"), |bytes| bytes[5] ^= 1);
    let (code, _, err) = run(&["restore", "latest", "b"]).await;
    assert_eq!(code, Some(9), "{err}");
    lost.peer.lock().may_not_manage = true;
    let (code, _, err) = run(&["restore", "latest", "b", "--into", "c"]).await;
    assert_eq!(code, Some(6), "{err}");
}
