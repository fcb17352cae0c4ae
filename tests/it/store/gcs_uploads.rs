//! Uploads to a Cloud Storage that misbehaves: recovered with equal bytes, or the right error and no object.

use super::uploaded::{self, assert_failed};
use bytes::Bytes;
use gcs_emulator::{Emulator, Fault, On};
use qdrant_backup::base::error::{Code, Result};
use qdrant_backup::wire::store::{Condition, GcsStore, ObjectMeta, Retry, Source, Store};
use std::{sync::atomic::Ordering, time::Duration};
use testkit::source::{Scripted, noise};
use testkit::store::{BUCKET, emulator, gcs, gcs_with, impatient, put};

const MIB: u64 = 1 << 20;
const KEY: &str = "a/collection.snapshot";
const NAME: &str = "p/a/collection.snapshot";

/// An upload of 4 MiB meets these faults.
async fn upload(faults: &[(usize, Fault)]) -> (Emulator, Bytes, Result<ObjectMeta>) {
    let emulator = emulator().await;
    let store = gcs(&emulator, "p").await;
    for (times, fault) in faults {
        emulator.fault("*.snapshot", *times, *fault);
    }
    let bytes = noise(4 << 20, 1);
    let result = put(&store, KEY, &bytes).await;
    (emulator, bytes, result)
}

fn assert_stored(emulator: &Emulator, bytes: &Bytes, result: Result<ObjectMeta>) {
    uploaded::assert_stored(emulator, NAME, bytes, result);
}

/// The ranges of the PUTs that carried bytes.
fn put_ranges(emulator: &Emulator) -> Vec<String> {
    let ranges = uploaded::ranges(emulator).into_iter();
    ranges.filter(|range| range != "bytes */*").collect()
}

#[tokio::test]
async fn a_snapshot_is_stored_with_its_type_in_one_request() {
    let (emulator, bytes, result) = upload(&[]).await;
    assert_stored(&emulator, &bytes, result);
    let object = emulator.object(BUCKET, NAME).unwrap();
    assert_eq!(object.content_type, "application/x-tar");
    assert_eq!(put_ranges(&emulator), ["bytes 0-4194303/4194304"]);
    // Other emulators build the address of the session from it.
    let host = emulator.url().strip_prefix("http://").map(str::to_string);
    assert!(emulator.requests().iter().all(|r| r.host == host));
}

#[tokio::test]
async fn a_reset_is_continued_from_what_was_kept() {
    let reset = Fault::ResetPut { after: MIB + 5 };
    let (emulator, bytes, result) = upload(&[(1, reset)]).await;
    assert_stored(&emulator, &bytes, result);
    let expected = ["bytes 0-4194303/4194304", "bytes 1048576-4194303/4194304"];
    assert_eq!(put_ranges(&emulator), expected);
}

#[tokio::test]
async fn a_503_after_a_partial_commit_is_continued() {
    let unavailable = Fault::Unavailable { after: MIB };
    let (emulator, bytes, result) = upload(&[(2, unavailable)]).await;
    assert_stored(&emulator, &bytes, result);
    assert_eq!(put_ranges(&emulator).len(), 3);
}

#[tokio::test]
async fn a_308_that_kept_less_than_was_sent_is_continued() {
    let less = Fault::PersistLess { keep: 3 * MIB / 2 };
    let (emulator, bytes, result) = upload(&[(2, less)]).await;
    assert_stored(&emulator, &bytes, result);
    assert_eq!(put_ranges(&emulator).len(), 3);
}

#[tokio::test]
async fn any_number_of_resets_is_survived_while_there_is_progress() {
    // Fifteen failures, and four attempts without progress are the limit.
    let reset = Fault::ResetPut { after: MIB / 4 };
    let (emulator, bytes, result) = upload(&[(15, reset)]).await;
    assert_stored(&emulator, &bytes, result);
    assert_eq!(put_ranges(&emulator).len(), 16);
}

#[tokio::test]
async fn resets_without_progress_end_the_upload() {
    let reset = Fault::ResetPut { after: 1000 };
    let (emulator, _, result) = upload(&[(usize::MAX, reset)]).await;
    let error = assert_failed(&emulator, result, Code::StoreUnreachable);
    assert!(!error.is_permanent());
    assert_eq!(put_ranges(&emulator).len(), 4);
}

#[tokio::test]
async fn a_308_without_progress_does_not_go_on_for_ever() {
    let nothing = Fault::PersistLess { keep: 0 };
    let (emulator, _, result) = upload(&[(usize::MAX, nothing)]).await;
    let error = assert_failed(&emulator, result, Code::StoreUnreachable);
    assert!(!error.is_permanent());
    assert_eq!(put_ranges(&emulator).len(), 4);
}

#[tokio::test]
async fn no_error_of_an_upload_names_the_address_of_its_session() {
    let status = |on, code| Fault::Status { on, code };
    let reset = (usize::MAX, Fault::ResetPut { after: 1000 });
    for faults in [
        vec![reset],
        vec![
            (usize::MAX, Fault::ResetPut { after: MIB }),
            (usize::MAX, status(On::Query, 404)),
        ],
        vec![(1, Fault::ResetPut { after: MIB }), (1, status(On::Query, 403))],
        vec![(usize::MAX, status(On::Put, 503))],
        vec![(1, Fault::Corrupt)],
        vec![(1, Fault::Corrupt), (1, status(On::Delete, 403))],
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

#[tokio::test]
async fn a_busy_service_is_asked_again() {
    let busy = |times, on, code| (times, Fault::Status { on, code });
    let faults = [busy(2, On::Start, 429), busy(2, On::Put, 503), busy(1, On::Query, 500)];
    let (emulator, bytes, result) = upload(&faults).await;
    assert_stored(&emulator, &bytes, result);
}

#[tokio::test]
async fn a_lost_answer_is_asked_for_again() {
    let (emulator, bytes, result) = upload(&[(1, Fault::LoseAnswer)]).await;
    assert_stored(&emulator, &bytes, result);
    assert_eq!(put_ranges(&emulator).len(), 1, "nothing was sent twice");
}

#[tokio::test]
async fn a_lost_answer_is_looked_up_when_it_cannot_be_asked_for() {
    for code in [404, 412, 503] {
        let query = Fault::Status { on: On::Query, code };
        let (emulator, bytes, result) = upload(&[(1, Fault::LoseAnswer), (usize::MAX, query)]).await;
        assert_stored(&emulator, &bytes, result);
    }
}

#[tokio::test]
async fn a_lost_answer_that_cannot_be_looked_up_is_not_called_a_failure_to_write() {
    let query = Fault::Status {
        on: On::Query,
        code: 503,
    };
    let look = Fault::Status { on: On::Get, code: 503 };
    let faults = [(1, Fault::LoseAnswer), (usize::MAX, query), (usize::MAX, look)];
    let (emulator, _, result) = upload(&faults).await;
    let error = result.unwrap_err();
    assert_eq!(error.code(), Code::StoreUnreachable);
    // Where it may lie is what is to be looked at.
    assert!(error.remedy_text().unwrap().contains(NAME), "{error}");
    assert!(emulator.object(BUCKET, NAME).is_some());
}

#[tokio::test]
async fn somebody_elses_object_is_not_taken_for_ours() {
    let emulator = emulator().await;
    let store = gcs(&emulator, "p").await;
    let slow = emulator.fault("*", 1, Fault::SlowCommit);
    let bytes = noise(1 << 20, 1);
    let other = async {
        slow.hit().await;
        // Even with the same content: whoever wrote it may be about to delete it.
        let meta = put(&gcs(&emulator, "p").await, KEY, &bytes).await;
        slow.release();
        meta
    };
    let (result, other) = tokio::join!(put(&store, KEY, &bytes), other);
    assert_eq!(result.unwrap_err().code(), Code::StoreConflict);
    assert_stored(&emulator, &bytes, other);
}

#[tokio::test]
async fn bytes_damaged_on_the_way_are_removed_again() {
    let (emulator, _, result) = upload(&[(1, Fault::Corrupt)]).await;
    let error = assert_failed(&emulator, result, Code::ChecksumMismatch);
    assert!(!error.is_permanent());
}

#[tokio::test]
async fn damage_behind_a_lost_answer_is_found_too() {
    let (emulator, _, result) = upload(&[(1, Fault::Corrupt), (1, Fault::LoseAnswer)]).await;
    assert_failed(&emulator, result, Code::ChecksumMismatch);
    let query = Fault::Status {
        on: On::Query,
        code: 404,
    };
    let faults = [(1, Fault::Corrupt), (1, Fault::LoseAnswer), (usize::MAX, query)];
    let (emulator, _, result) = upload(&faults).await;
    assert_failed(&emulator, result, Code::ChecksumMismatch);
}

#[tokio::test]
async fn damage_that_cannot_be_removed_is_named() {
    let emulator = emulator().await;
    emulator.deny("storage.objects.delete");
    let store = gcs(&emulator, "p").await;
    emulator.fault("*", 1, Fault::Corrupt);
    let error = put(&store, KEY, &noise(1000, 1)).await.unwrap_err();
    assert_eq!(error.code(), Code::ChecksumMismatch);
    assert!(error.is_permanent());
    let object = emulator.object(BUCKET, NAME).unwrap();
    let address = format!("gs://{BUCKET}/{NAME}#{}", object.generation);
    assert!(error.remedy_text().unwrap().contains(&address), "{error}");
}

/// Gives other bytes when it is asked for them again.
struct Fickle(Scripted, Scripted);

#[async_trait::async_trait]
impl Source for Fickle {
    fn len(&self) -> u64 {
        self.0.len()
    }
    async fn next(&mut self) -> Option<Result<Bytes>> {
        self.0.next().await
    }
    async fn seek(&mut self, offset: u64) -> Result<()> {
        if offset > 0 {
            std::mem::swap(&mut self.0, &mut self.1);
        }
        self.0.seek(offset).await
    }
}

#[tokio::test]
async fn bytes_that_change_between_attempts_are_no_backup() {
    let emulator = emulator().await;
    let store = gcs(&emulator, "p").await;
    let (reset, slow) = (Fault::Unavailable { after: MIB }, Fault::SlowCommit);
    emulator.fault("*", 1, reset);
    emulator.fault("*", 1, slow).release();
    let (first, second) = (noise(4 << 20, 1), noise(4 << 20, 2));
    let source = Fickle(Scripted::new(&first), Scripted::new(&second));
    let result = store.put(KEY, Box::new(source), Condition::Absent).await;
    assert_failed(&emulator, result, Code::ChecksumMismatch);
}

#[tokio::test]
async fn an_upload_that_the_service_forgot_begins_anew() {
    let faults = [
        (1, Fault::ResetPut { after: MIB }),
        (
            1,
            Fault::Status {
                on: On::Query,
                code: 404,
            },
        ),
    ];
    let (emulator, bytes, result) = upload(&faults).await;
    assert_stored(&emulator, &bytes, result);
    let whole = "bytes 0-4194303/4194304";
    assert_eq!(put_ranges(&emulator), [whole, whole]);
}

#[tokio::test]
async fn an_upload_that_the_service_forgets_again_and_again_is_given_up() {
    for code in [404, 410] {
        let (emulator, _, result) = upload(&[(usize::MAX, Fault::Status { on: On::Put, code })]).await;
        let error = assert_failed(&emulator, result, Code::StoreUnreachable);
        assert!(!error.is_permanent());
        assert_eq!(put_ranges(&emulator).len(), 3, "three sessions");
    }
}

#[tokio::test]
async fn a_source_that_fails_after_a_reset_ends_the_upload() {
    let emulator = emulator().await;
    let store = gcs(&emulator, "p").await;
    emulator.fault("*", 1, Fault::ResetPut { after: MIB });
    let source = Box::new(Scripted::new(&noise(4 << 20, 1)).failing_at(3 << 20));
    let seeks = source.seeks.clone();
    let result = store.put(KEY, source, Condition::Absent).await;
    assert_failed(&emulator, result, Code::SnapshotChanged);
    assert!(seeks.load(Ordering::Relaxed) <= 2);
}

fn watchful() -> Retry {
    Retry {
        stall: Duration::from_millis(200),
        ..impatient()
    }
}

async fn watched(emulator: &Emulator) -> GcsStore {
    gcs_with(emulator, "p", watchful()).await
}

#[tokio::test]
async fn a_connection_that_stands_still_is_given_up() {
    let emulator = emulator().await;
    let store = watched(&emulator).await;
    emulator.fault("*", 1, Fault::Stall { after: MIB });
    // More than the buffers of the connection take.
    let result = put(&store, KEY, &noise(48 << 20, 1)).await;
    let error = assert_failed(&emulator, result, Code::Stalled);
    assert!(!error.is_permanent());
}

#[tokio::test]
async fn a_commit_that_never_comes_is_given_up() {
    let emulator = emulator().await;
    let store = watched(&emulator).await;
    emulator.fault("*", 1, Fault::SlowCommit);
    let result = put(&store, KEY, &noise(1000, 1)).await;
    assert_failed(&emulator, result, Code::Stalled);
}

#[tokio::test]
async fn an_answer_that_never_comes_is_looked_up() {
    let emulator = emulator().await;
    let store = watched(&emulator).await;
    emulator.fault("*", 1, Fault::WithholdAnswer);
    let bytes = noise(1000, 1);
    let result = put(&store, KEY, &bytes).await;
    assert_stored(&emulator, &bytes, result);
}

#[tokio::test]
async fn a_pause_is_waited_for() {
    let emulator = emulator().await;
    let store = gcs(&emulator, "p").await;
    let stall = emulator.fault("*", 1, Fault::Stall { after: MIB });
    let slow = emulator.fault("*", 1, Fault::SlowCommit);
    let bytes = noise(16 << 20, 1);
    let release = async {
        stall.hit().await;
        assert!(emulator.objects(BUCKET).is_empty());
        stall.release();
        slow.hit().await;
        assert!(emulator.objects(BUCKET).is_empty());
        slow.release();
    };
    let (result, ()) = tokio::join!(put(&store, KEY, &bytes), release);
    assert_stored(&emulator, &bytes, result);
}

/// Takes longer for a chunk than the store may stand still.
struct Slow(Scripted);

#[async_trait::async_trait]
impl Source for Slow {
    fn len(&self) -> u64 {
        self.0.len()
    }
    async fn next(&mut self) -> Option<Result<Bytes>> {
        tokio::time::sleep(5 * watchful().stall).await;
        self.0.next().await
    }
    async fn seek(&mut self, offset: u64) -> Result<()> {
        self.0.seek(offset).await
    }
}

#[tokio::test]
async fn a_slow_source_is_not_taken_for_a_slow_store() {
    let emulator = emulator().await;
    let store = watched(&emulator).await;
    let bytes = noise(1000, 1);
    let source = Box::new(Slow(Scripted::new(&bytes)));
    let result = store.put(KEY, source, Condition::Absent).await;
    assert_stored(&emulator, &bytes, result);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_body_passes_an_emulator_that_keeps_nothing() {
    let options = gcs_emulator::Options {
        discard: true,
        ..Default::default()
    };
    let emulator = Emulator::start_with(options).await.unwrap();
    emulator.create_bucket(BUCKET);
    emulator.fault("*", 3, Fault::ResetPut { after: 9 * MIB + 77 });
    let store = gcs(&emulator, "p").await;
    let bytes = noise(64 << 20, 1);
    let meta = put(&store, KEY, &bytes).await.unwrap();
    let object = emulator.object(BUCKET, NAME).unwrap();
    assert!(object.data.is_none());
    assert_eq!((object.size, object.crc32c), (64 << 20, crc32c::crc32c(&bytes)));
    assert_eq!(meta.crc32c, Some(object.crc32c));
}
