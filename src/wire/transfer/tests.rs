//! The relay between a scripted source and a store in memory, under paused time.
#![allow(clippy::unwrap_used)]

mod fakes;
mod streamed;

use super::*;
use fakes::{Fault, Memory, Script, body, expected};
use std::{num::NonZeroU32, sync::atomic::Ordering};
use tokio::time::Instant;

const KEY: &str = "backups/x/c/collection.snapshot";

fn limits() -> Limits {
    Limits {
        idle: Duration::from_secs(60),
        window: Duration::from_secs(300),
        min_bytes_per_window: 30_000,
        commit: Duration::from_secs(600),
    }
}

async fn run(source: Script, expected: &Expected, store: &Memory) -> Result<(Digest, ObjectMeta)> {
    copy(Box::new(source), expected, store, KEY, &limits(), None, Arc::default()).await
}

#[tokio::test(start_paused = true)]
async fn bytes_arrive_unchanged_with_all_three_digests() {
    let bytes = body(3_000_000);
    let store = Memory::default();
    let passed = Arc::new(AtomicU64::new(0));
    let (digest, stored) = copy(
        Box::new(Script::new(&bytes, 70_001)),
        &expected(&bytes),
        &store,
        KEY,
        &limits(),
        None,
        Arc::clone(&passed),
    )
    .await
    .unwrap();
    assert_eq!(store.object(KEY).unwrap(), bytes);
    assert_eq!(digest.bytes, 3_000_000);
    assert_eq!(Some(digest.sha256), expected(&bytes).sha256);
    assert_eq!(digest.crc32c, crc32c::crc32c(&bytes));
    assert_eq!(digest.sha256_hex().len(), 64);
    assert_eq!(stored.size, 3_000_000);
    assert_eq!(passed.load(Ordering::Relaxed), 3_000_000);
}

#[tokio::test(start_paused = true)]
async fn an_empty_body_is_stored() {
    let store = Memory::default();
    let (digest, _) = run(Script::new(&[], 10), &expected(&[]), &store).await.unwrap();
    assert_eq!(store.object(KEY).unwrap(), b"");
    assert!(digest.sha256_hex().starts_with("e3b0c442"));
}

#[tokio::test(start_paused = true)]
async fn an_empty_body_with_another_checksum_is_not_stored() {
    let store = Memory::default();
    let error = run(Script::new(&[], 10), &expected_as(&[], b"x"), &store)
        .await
        .unwrap_err();
    assert_eq!(error.code(), Code::ChecksumMismatch);
    assert_eq!(store.object(KEY), None);
}

/// What is announced for `bytes`, but with the checksum of `other`.
fn expected_as(bytes: &[u8], other: &[u8]) -> Expected {
    Expected {
        bytes: bytes.len() as u64,
        ..expected(other)
    }
}

#[tokio::test(start_paused = true)]
async fn a_missing_checksum_of_qdrant_is_no_error() {
    let bytes = body(1000);
    let unknown = Expected {
        bytes: 1000,
        sha256: None,
        crc32c: None,
    };
    let store = Memory::default();
    let (digest, _) = run(Script::new(&bytes, 100), &unknown, &store).await.unwrap();
    assert_eq!(Some(digest.sha256), expected(&bytes).sha256);
}

#[tokio::test(start_paused = true)]
async fn bytes_read_again_after_a_resumed_upload_are_hashed_once() {
    let bytes = body(1_000_000);
    // In the middle, then at the very end, when all had been sent already.
    let store = Memory::default().with(Fault::Resume(vec![(400_000, 123_456), (1_000_000, 7)]));
    let (digest, _) = run(Script::new(&bytes, 30_001), &expected(&bytes), &store)
        .await
        .unwrap();
    assert_eq!(store.object(KEY).unwrap(), bytes);
    assert_eq!(digest.crc32c, crc32c::crc32c(&bytes));
    assert_eq!(digest.bytes, 1_000_000);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_asks_beyond_the_bytes_sent_gets_an_error() {
    let bytes = body(1000);
    let store = Memory::default().with(Fault::Resume(vec![(200, 900)]));
    let error = run(Script::new(&bytes, 100), &expected(&bytes), &store)
        .await
        .unwrap_err();
    assert_eq!(error.code(), Code::Internal, "{error}");
    assert_eq!(store.object(KEY), None);
}

#[tokio::test(start_paused = true)]
async fn the_last_chunk_of_a_wrong_body_never_reaches_the_store() {
    let bytes = body(1000);
    let store = Memory::default();
    let error = run(Script::new(&bytes, 300), &expected_as(&bytes, b"other"), &store)
        .await
        .unwrap_err();
    assert_eq!(error.code(), Code::ChecksumMismatch);
    assert_eq!(store.received(), 900);
    assert_eq!(store.object(KEY), None);
    let text = error.to_string();
    let (read, announced) = (expected(&bytes), expected(b"other"));
    for part in [KEY, &hex(&read.sha256.unwrap()), &hex(&announced.sha256.unwrap())] {
        assert!(text.contains(part), "{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_ends_early_is_an_error_and_nothing_is_stored() {
    let bytes = body(1000);
    let store = Memory::default();
    let short = Script::new(&bytes[..900], 300).claiming(1000);
    let error = run(short, &expected(&bytes), &store).await.unwrap_err();
    assert_eq!(error.code(), Code::LengthMismatch);
    let text = error.to_string();
    assert!(
        text.contains(KEY) && text.contains("900") && text.contains("1000"),
        "{text}"
    );
    assert_eq!(store.object(KEY), None);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_goes_on_is_an_error_whether_or_not_a_chunk_ends_at_the_announced_length() {
    let bytes = body(1000);
    for chunk in [250, 300] {
        let store = Memory::default();
        let long = Script::new(&bytes, chunk).claiming(750);
        let error = run(long, &expected(&bytes[..750]), &store).await.unwrap_err();
        assert_eq!(error.code(), Code::LengthMismatch, "{error}");
        assert!(store.received() < 750);
        assert_eq!(store.object(KEY), None);
    }
}

#[tokio::test(start_paused = true)]
async fn a_source_of_another_length_is_refused_before_anything_is_sent() {
    let bytes = body(1000);
    let store = Memory::default();
    let error = run(Script::new(&bytes, 100), &expected(&bytes[..999]), &store)
        .await
        .unwrap_err();
    assert_eq!(error.code(), Code::LengthMismatch);
    assert_eq!(store.received(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_object_that_the_store_holds_differently_is_removed_again() {
    let bytes = body(1000);
    for (fault, code) in [
        (Fault::OtherCrc, Code::ChecksumMismatch),
        (Fault::NoCrc, Code::ChecksumMismatch),
        (Fault::OtherSize, Code::LengthMismatch),
    ] {
        let store = Memory::default().with(fault);
        let error = run(Script::new(&bytes, 100), &expected(&bytes), &store)
            .await
            .unwrap_err();
        assert_eq!(error.code(), code);
        assert_eq!(store.object(KEY), None);
    }
}

#[tokio::test(start_paused = true)]
async fn a_wrong_object_that_cannot_be_removed_is_named() {
    let bytes = body(1000);
    let store = Memory::default().with(Fault::OtherCrc).with(Fault::NoDelete);
    let error = run(Script::new(&bytes, 100), &expected(&bytes), &store)
        .await
        .unwrap_err();
    assert_eq!(error.code(), Code::ChecksumMismatch);
    assert!(error.remedy_text().unwrap().contains(KEY), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_confirms_what_it_has_not_read_is_not_believed() {
    let bytes = body(1000);
    let store = Memory::default().with(Fault::StopsReading);
    let error = run(Script::new(&bytes, 100), &expected(&bytes), &store)
        .await
        .unwrap_err();
    assert_eq!(error.code(), Code::Internal);
    assert_eq!(store.object(KEY), None);
}

/// Of the two sides only this one is named, with these numbers.
#[track_caller]
fn stalls(error: &Error, side: &str, numbers: &[&str]) {
    assert_eq!(error.code(), Code::Stalled, "{error}");
    let named: Vec<_> = ["Qdrant", "memory:"]
        .into_iter()
        .filter(|side| error.chain().contains(side))
        .collect();
    assert_eq!(named, [side], "{error}");
    for number in numbers {
        assert!(error.chain().contains(number), "{number}: {error}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_silent_source_is_named_as_the_side_that_stalls() {
    let bytes = body(1000);
    let store = Memory::default();
    let start = Instant::now();
    let error = run(Script::new(&bytes, 100).silent_after(500), &expected(&bytes), &store)
        .await
        .unwrap_err();
    assert_eq!(error.code(), Code::Stalled);
    stalls(&error, "Qdrant", &["60 s", "500 bytes"]);
    assert_eq!(start.elapsed(), Duration::from_secs(60));
}

#[tokio::test(start_paused = true)]
async fn a_silent_store_is_named_as_the_side_that_stalls() {
    let bytes = body(1000);
    let store = Memory::default().with(Fault::SilentAfter(500));
    let error = run(Script::new(&bytes, 100), &expected(&bytes), &store)
        .await
        .unwrap_err();
    assert_eq!(error.code(), Code::Stalled);
    stalls(&error, "memory:", &["60 s", "500 bytes"]);
}

#[tokio::test(start_paused = true)]
async fn a_store_may_take_longer_to_confirm_than_to_read_but_not_for_ever() {
    let bytes = body(1000);
    let patient = Memory::default().with(Fault::SlowCommit(Duration::from_secs(599)));
    run(Script::new(&bytes, 100), &expected(&bytes), &patient)
        .await
        .unwrap();
    let hung = Memory::default().with(Fault::SlowCommit(Duration::from_secs(601)));
    let error = run(Script::new(&bytes, 100), &expected(&bytes), &hung)
        .await
        .unwrap_err();
    stalls(&error, "memory:", &["600 s"]);
}

#[tokio::test(start_paused = true)]
async fn a_trickle_is_a_stall_with_the_slow_side_named() {
    // 100 bytes every 10 s are 3000 in a window of 300 s; 30000 are due.
    let bytes = body(100_000);
    let store = Memory::default();
    let slow = Script::new(&bytes, 100).pausing(Duration::from_secs(10));
    let error = run(slow, &expected(&bytes), &store).await.unwrap_err();
    stalls(&error, "Qdrant", &[]);

    let store = Memory::default().with(Fault::Pausing(Duration::from_secs(10)));
    let error = run(Script::new(&bytes, 100), &expected(&bytes), &store)
        .await
        .unwrap_err();
    stalls(&error, "memory:", &[]);
}

#[tokio::test(start_paused = true)]
async fn slow_but_sufficient_progress_is_no_stall() {
    // 1100 bytes every 10 s for 1000 s.
    let bytes = body(110_000);
    let store = Memory::default();
    let slow = Script::new(&bytes, 1100).pausing(Duration::from_secs(10));
    run(slow, &expected(&bytes), &store).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_source_that_fails_hands_its_own_error_through() {
    let bytes = body(1000);
    let store = Memory::default();
    let error = run(Script::new(&bytes, 100).failing_after(500), &expected(&bytes), &store)
        .await
        .unwrap_err();
    assert_eq!(error.code(), Code::SnapshotChanged);
    assert_eq!(store.object(KEY), None);
}

#[tokio::test(start_paused = true)]
async fn two_relays_share_one_rate_limit_and_waiting_for_it_is_no_stall() {
    // 20 MB in all at 1 MB/s. The minimum of 30 MB in 10 s is far above what the limit lets through.
    let bytes = body(10_000_000);
    let rate = RateLimiter::megabytes_per_second(NonZeroU32::new(1).unwrap());
    let store = Memory::default();
    let limits = Limits {
        idle: Duration::from_millis(50),
        window: Duration::from_secs(10),
        min_bytes_per_window: 30_000_000,
        commit: Duration::from_secs(1),
    };
    let start = Instant::now();
    let expected = expected(&bytes);
    let one = |key| {
        copy(
            Box::new(Script::new(&bytes, 100_000)),
            &expected,
            &store,
            key,
            &limits,
            Some(&rate),
            Arc::default(),
        )
    };
    let (a, b) = tokio::join!(one("a"), one("b"));
    a.unwrap();
    b.unwrap();
    let elapsed = start.elapsed();
    assert!(
        elapsed > Duration::from_secs(19) && elapsed < Duration::from_secs(21),
        "{elapsed:?} of virtual time"
    );
}

#[tokio::test]
async fn dropping_the_transfer_ends_a_body_that_a_connection_task_still_holds() {
    let bytes = body(1000);
    let store = Arc::new(Memory::default().with(Fault::ReadsInATask));
    let source = Script::new(&bytes, 100).silent_after(500);
    let gone = source.gone();
    let transfer = tokio::spawn({
        let store = Arc::clone(&store);
        async move { run(source, &expected(&body(1000)), &store).await }
    });
    store.until_received(500).await;
    transfer.abort();
    // Ends only if the task's body ends; the source is dropped with it.
    let error = store.reading_task().await.unwrap().unwrap_err();
    assert_eq!(error.code(), Code::Cancelled);
    assert!(gone.upgrade().is_none());
    assert_eq!(store.object(KEY), None);
}

#[tokio::test]
async fn chunks_in_memory_stay_within_the_queue_however_many_there_are() {
    let bytes = body(64 << 20);
    for chunk in [20_000, 700_000] {
        let source = Script::new(&bytes, chunk).counting_memory();
        let memory = source.memory();
        let store = Memory::default();
        run(source, &expected(&bytes), &store).await.unwrap();
        let most = memory.most.load(Ordering::Relaxed);
        // The queue, the chunk on its way in, and the one in the store's hands.
        assert!(
            most <= hasher::QUEUE_BYTES + 2 * chunk,
            "{most} bytes with chunks of {chunk}"
        );
    }
}
