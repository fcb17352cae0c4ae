//! Uploads of unknown length to a Cloud Storage that misbehaves. No byte can be had again, so what is in doubt is kept; what fails
//! leaves neither an object nor an open session.

use super::uploaded::{self, ranges};
use bytes::Bytes;
use gcs_emulator::{Emulator, Fault, On};
use qdrant_backup::base::error::{Code, Error, Result};
use qdrant_backup::wire::store::{ByteStream, GcsStore, ObjectMeta, Retry, Store};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use testkit::source::{Scripted, noise};
use testkit::store::{BUCKET, emulator, gcs, gcs_with, impatient, put, put_stream};

const MIB: u64 = 1 << 20;
const CHUNK: usize = 1 << 20;
const KEY: &str = "a/shard-0.snapshot";
const NAME: &str = "p/a/shard-0.snapshot";

async fn chunked(emulator: &Emulator) -> GcsStore {
    gcs(emulator, "p").await.with_chunk(CHUNK)
}

/// An upload of 4.5 MiB in chunks of one meets these faults.
async fn upload(faults: &[(usize, Fault)]) -> (Emulator, Bytes, Result<ObjectMeta>) {
    let emulator = emulator().await;
    let store = chunked(&emulator).await;
    for (times, fault) in faults {
        emulator.fault("*.snapshot", *times, *fault);
    }
    let bytes = noise(9 << 19, 1);
    let result = put_stream(&store, KEY, &bytes).await;
    (emulator, bytes, result)
}

fn assert_stored(emulator: &Emulator, bytes: &Bytes, result: Result<ObjectMeta>) {
    uploaded::assert_stored(emulator, NAME, bytes, result);
    assert_eq!(requests(emulator, "DELETE"), 0);
}

/// Nothing is left, and the service was told that nothing more comes.
fn assert_failed(emulator: &Emulator, result: Result<ObjectMeta>, code: Code) -> Error {
    let error = uploaded::assert_failed(emulator, result, code);
    assert_eq!(requests(emulator, "DELETE"), 1, "{error}");
    error
}

fn requests(emulator: &Emulator, method: &str) -> usize {
    emulator.requests().iter().filter(|r| r.method == method).count()
}

const WHOLE: [&str; 5] = [
    "bytes 0-1048575/*",
    "bytes 1048576-2097151/*",
    "bytes 2097152-3145727/*",
    "bytes 3145728-4194303/*",
    "bytes 4194304-4718591/4718592",
];

#[tokio::test]
async fn a_stream_is_stored_chunk_by_chunk_and_the_last_one_tells_the_length() {
    let (emulator, bytes, result) = upload(&[]).await;
    assert_stored(&emulator, &bytes, result);
    let object = emulator.object(BUCKET, NAME).unwrap();
    assert_eq!(object.content_type, "application/x-tar");
    assert!(object.metadata.contains_key("qdrant-backup-write"));
    assert_eq!(ranges(&emulator), WHOLE);
}

#[tokio::test]
async fn any_length_is_stored() {
    for (len, puts) in [
        (0, 1),
        (1, 1),
        (CHUNK - 1, 1),
        (CHUNK, 1),
        (CHUNK + 1, 2),
        (3 * CHUNK, 3),
    ] {
        let emulator = emulator().await;
        let store = chunked(&emulator).await;
        let bytes = noise(len, 1);
        let result = put_stream(&store, KEY, &bytes).await;
        assert_stored(&emulator, &bytes, result);
        assert_eq!(ranges(&emulator).len(), puts, "{len} bytes");
    }
}

#[tokio::test]
async fn a_reset_is_continued_from_what_was_kept() {
    let reset = Fault::ResetPut { after: MIB / 2 + 5 };
    let (emulator, bytes, result) = upload(&[(1, reset)]).await;
    assert_stored(&emulator, &bytes, result);
    let begin = ["bytes 0-1048575/*", "bytes */*", "bytes 524288-1048575/*"];
    assert_eq!(ranges(&emulator)[..3], begin);
    assert_eq!(ranges(&emulator)[3..], WHOLE[1..]);
}

#[tokio::test]
async fn a_503_after_a_partial_commit_is_continued() {
    let (emulator, bytes, result) = upload(&[(7, Fault::Unavailable { after: MIB / 4 })]).await;
    assert_stored(&emulator, &bytes, result);
}

#[tokio::test]
async fn a_308_that_kept_less_than_was_sent_is_continued() {
    let (emulator, bytes, result) = upload(&[(7, Fault::PersistLess { keep: MIB / 4 })]).await;
    assert_stored(&emulator, &bytes, result);
    // It says itself what it has: there is nothing to ask.
    assert!(!ranges(&emulator).contains(&"bytes */*".to_owned()));
}

#[tokio::test]
async fn the_last_chunk_is_continued_too() {
    for fault in [
        Fault::ResetPut { after: MIB / 4 },
        Fault::Unavailable { after: MIB / 4 },
        Fault::PersistLess { keep: MIB / 4 },
        // All of it, and still no object.
        Fault::ResetPut { after: MIB / 2 },
        Fault::Unavailable { after: MIB / 2 },
        Fault::PersistLess { keep: MIB / 2 },
    ] {
        let emulator = emulator().await;
        let store = chunked(&emulator).await;
        emulator.fault("*", 1, fault);
        let bytes = noise(CHUNK / 2, 1);
        let result = put_stream(&store, KEY, &bytes).await;
        assert_stored(&emulator, &bytes, result);
    }
}

#[tokio::test]
async fn failures_without_progress_end_the_upload() {
    for fault in [
        Fault::ResetPut { after: 1000 },
        Fault::Unavailable { after: 0 },
        Fault::PersistLess { keep: 0 },
    ] {
        let (emulator, _, result) = upload(&[(usize::MAX, fault)]).await;
        let error = assert_failed(&emulator, result, Code::StoreUnreachable);
        assert!(!error.is_permanent());
        let puts = ranges(&emulator).into_iter().filter(|range| range != "bytes */*");
        assert_eq!(puts.count(), 4, "{fault:?}");
    }
}

#[tokio::test]
async fn any_number_of_failures_is_survived_while_there_is_progress() {
    // Eighteen of a quarter of a MiB, and four attempts without progress are the limit.
    let (emulator, bytes, result) = upload(&[(18, Fault::ResetPut { after: MIB / 4 })]).await;
    assert_stored(&emulator, &bytes, result);
}

#[tokio::test]
async fn a_session_that_expired_means_to_begin_anew() {
    for (on, code) in [(On::Put, 410), (On::Put, 404), (On::Query, 410)] {
        let reset = Fault::ResetPut { after: MIB / 4 };
        let faults = [(usize::from(on == On::Query), reset), (1, Fault::Status { on, code })];
        let (emulator, bytes, result) = upload(&faults).await;
        let error = assert_failed(&emulator, result, Code::StoreUnreachable);
        assert!(
            !error.is_permanent() && error.remedy_text().unwrap().contains("first byte"),
            "{error}"
        );
        let again = put_stream(&chunked(&emulator).await, KEY, &bytes).await;
        assert_eq!(again.unwrap().size, bytes.len() as u64);
    }
}

#[tokio::test]
async fn bytes_that_were_confirmed_and_are_lost_mean_to_begin_anew() {
    let emulator = emulator().await;
    let store = chunked(&emulator).await;
    let forgets = emulator.fault("*", 1, Fault::Forget { from: 2 * MIB });
    let result = put_stream(&store, KEY, &noise(9 << 19, 1)).await;
    assert_eq!(forgets.left(), 0);
    let error = assert_failed(&emulator, result, Code::StoreUnreachable);
    assert!(
        !error.is_permanent() && error.remedy_text().unwrap().contains("first byte"),
        "{error}"
    );
}

#[tokio::test]
async fn damage_on_the_way_is_refused_before_there_is_an_object() {
    let (emulator, _, result) = upload(&[(1, Fault::CorruptPut)]).await;
    let error = assert_failed(&emulator, result, Code::StoreFailed);
    assert!(!error.is_permanent() && error.chain().contains("CRC32C"), "{error}");
    assert_eq!(
        requests(&emulator, "POST"),
        2,
        "the upload, and the look whether there is an object"
    );
}

#[tokio::test]
async fn damage_at_the_end_is_removed_again() {
    for faults in [
        vec![(1, Fault::Corrupt)],
        vec![(1, Fault::Corrupt), (1, Fault::LoseAnswer)],
    ] {
        let (emulator, _, result) = upload(&faults).await;
        assert_eq!(result.unwrap_err().code(), Code::ChecksumMismatch);
        assert!(emulator.objects(BUCKET).is_empty());
    }
}

#[tokio::test]
async fn a_lost_answer_is_asked_for_again() {
    let (emulator, bytes, result) = upload(&[(1, Fault::LoseAnswer)]).await;
    assert_stored(&emulator, &bytes, result);
    assert_eq!(ranges(&emulator)[..5], WHOLE);
    assert_eq!(ranges(&emulator)[5..], ["bytes */4718592"]);
}

#[tokio::test]
async fn a_lost_answer_is_looked_up_when_it_cannot_be_asked_for() {
    for code in [404, 412, 503] {
        let query = Fault::Status { on: On::Query, code };
        let (emulator, bytes, result) = upload(&[(1, Fault::LoseAnswer), (usize::MAX, query)]).await;
        assert_eq!(result.unwrap().crc32c, Some(crc32c::crc32c(&bytes)));
        assert_eq!(emulator.objects(BUCKET).len(), 1);
    }
}

#[tokio::test]
async fn a_busy_service_is_asked_again() {
    let busy = |times, on, code| (times, Fault::Status { on, code });
    for faults in [
        vec![busy(3, On::Start, 429)],
        vec![busy(2, On::Put, 503), busy(1, On::Query, 500)],
        // A token that expired on its way.
        vec![busy(1, On::Start, 401), busy(1, On::Put, 401)],
    ] {
        let (emulator, bytes, result) = upload(&faults).await;
        assert_stored(&emulator, &bytes, result);
    }
}

#[tokio::test]
async fn a_refusal_is_told_with_its_remedy() {
    for (code, expected) in [
        (401, Code::StoreUnauthorized),
        (403, Code::StoreForbidden),
        // It is the bucket that is missing.
        (404, Code::StoreMissing),
        (412, Code::StoreConflict),
        (507, Code::StoreFull),
    ] {
        let fault = Fault::Status { on: On::Start, code };
        let (emulator, _, result) = upload(&[(usize::MAX, fault)]).await;
        let error = result.unwrap_err();
        assert_eq!(error.code(), expected, "{code}: {error}");
        assert_eq!(ranges(&emulator), [""; 0], "{code}: nothing was sent");
    }
}

#[tokio::test]
async fn an_object_that_is_there_is_neither_replaced_nor_taken_for_ours() {
    let emulator = emulator().await;
    let store = chunked(&emulator).await;
    let theirs = noise(1000, 2);
    put(&store, KEY, &theirs).await.unwrap();
    let error = put_stream(&store, KEY, &noise(9 << 19, 1)).await.unwrap_err();
    assert_eq!(error.code(), Code::StoreConflict, "{error}");
    emulator.deny("storage.objects.delete");
    let error = put_stream(&store, KEY, &theirs).await.unwrap_err();
    assert_eq!(error.code(), Code::StoreConflict, "{error}");
    assert_eq!(emulator.object(BUCKET, NAME).unwrap().data, Some(theirs));
}

#[tokio::test]
async fn somebody_elses_object_that_comes_meanwhile_wins() {
    let emulator = emulator().await;
    let store = chunked(&emulator).await;
    let slow = emulator.fault("*", 1, Fault::SlowCommit);
    let bytes = noise(9 << 19, 1);
    let other = async {
        slow.hit().await;
        let meta = put(&gcs(&emulator, "p").await, KEY, &bytes).await;
        slow.release();
        meta
    };
    let (result, other) = tokio::join!(put_stream(&store, KEY, &bytes), other);
    assert_eq!(result.unwrap_err().code(), Code::StoreConflict);
    assert_eq!(
        emulator.object(BUCKET, NAME).unwrap().generation.to_string(),
        other.unwrap().version.0
    );
}

#[tokio::test]
async fn a_stream_that_fails_ends_the_session() {
    let emulator = emulator().await;
    let store = chunked(&emulator).await;
    let stream = Box::new(Scripted::new(&noise(9 << 19, 1)).failing_at(3 << 20));
    let result = store.put_stream(KEY, stream).await;
    assert_failed(&emulator, result, Code::SnapshotChanged);
}

#[tokio::test]
async fn a_stream_that_fails_in_its_first_chunk_costs_the_store_nothing() {
    let emulator = emulator().await;
    let store = chunked(&emulator).await;
    let stream = Box::new(Scripted::new(&noise(9 << 19, 1)).failing_at(500_000));
    let error = store.put_stream(KEY, stream).await.unwrap_err();
    assert_eq!(error.code(), Code::SnapshotChanged);
    assert_eq!(emulator.requests().len(), 0);
}

#[tokio::test]
async fn an_upload_that_is_dropped_is_cancelled() {
    let emulator = emulator().await;
    let store = chunked(&emulator).await;
    let stream = Scripted::new(&noise(9 << 19, 1)).hanging_at(3 << 20);
    let hung = stream.hung.clone();
    {
        let upload = store.put_stream(KEY, Box::new(stream));
        tokio::select! {
            _ = upload => panic!("it has no end"),
            _ = hung.acquire() => {}
        }
    }
    emulator.cancellation().await;
    assert!(emulator.objects(BUCKET).is_empty());
}

#[tokio::test]
async fn a_connection_that_stands_still_is_given_up() {
    let emulator = emulator().await;
    let retry = Retry {
        stall: Duration::from_millis(100),
        ..impatient()
    };
    let store = gcs_with(&emulator, "p", retry).await.with_chunk(16 << 20);
    emulator.fault("*", usize::MAX, Fault::Stall { after: MIB });
    // More than the buffers of the connection take.
    let result = put_stream(&store, KEY, &noise(15 << 20, 1)).await;
    let error = result.unwrap_err();
    assert_eq!(error.code(), Code::Stalled, "{error}");
    assert!(!error.is_permanent() && emulator.objects(BUCKET).is_empty());
}

#[tokio::test]
async fn no_error_of_an_upload_names_the_address_of_its_session() {
    let status = |on, code| Fault::Status { on, code };
    for faults in [
        vec![(usize::MAX, Fault::ResetPut { after: 1000 })],
        vec![(1, status(On::Put, 404))],
        vec![(1, status(On::Put, 403))],
        vec![(usize::MAX, status(On::Put, 503))],
        vec![(1, Fault::Corrupt)],
    ] {
        let (emulator, _, result) = upload(&faults).await;
        let sessions = emulator.requests().into_iter().filter(|r| r.method == "PUT");
        assert!(sessions.into_iter().all(|r| r.target.contains("upload_id=secret-")));
        let error = result.unwrap_err();
        let all = format!("{error} {error:?} {error:#?} {}", error.chain());
        for secret in ["secret-", "upload_id", "/upload/session"] {
            assert!(!all.contains(secret), "{faults:?}: {all}");
        }
    }
}

/// Counts what it hands out.
struct Counted(Scripted, Arc<AtomicUsize>);

#[async_trait::async_trait]
impl ByteStream for Counted {
    async fn next(&mut self) -> Option<Result<Bytes>> {
        let next = ByteStream::next(&mut self.0).await;
        let len = next.as_ref().and_then(|n| n.as_ref().ok()).map_or(0, Bytes::len);
        self.1.fetch_add(len, Ordering::Relaxed);
        next
    }
}

#[tokio::test]
async fn no_more_is_read_than_two_chunks_beyond_what_is_confirmed() {
    let emulator = emulator().await;
    let store = chunked(&emulator).await;
    let stall = emulator.fault("*", 1, Fault::Stall { after: 0 });
    let (bytes, read) = (noise(9 << 19, 1), Arc::default());
    let stream = Counted(Scripted::new(&bytes), Arc::clone(&read));
    let watch = async {
        stall.hit().await;
        // The stream is always ready: what is read without a confirmation is read now.
        while read.load(Ordering::Relaxed) < 2 * CHUNK {
            tokio::task::yield_now().await;
        }
        for _ in 0..1000 {
            tokio::task::yield_now().await;
        }
        let most = read.load(Ordering::Relaxed);
        stall.release();
        most
    };
    let (result, most) = tokio::join!(store.put_stream(KEY, Box::new(stream)), watch);
    assert_stored(&emulator, &bytes, result);
    // And the piece that did not fit.
    assert!(most <= 2 * CHUNK + 100_000, "{most} bytes");
}
