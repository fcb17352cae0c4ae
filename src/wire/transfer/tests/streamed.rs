//! Streams, whose end says nothing: the snapshot of a shard from a Qdrant 1.18.3.

use super::fakes::{Fault, Memory, Script, expected};
use super::{KEY, limits, stalls};
use crate::base::error::{Code, Error, Result};
use crate::base::snapshot::{ArtifactKind, Expected};
use crate::wire::store::ObjectMeta;
use crate::wire::transfer::{Digest, Limits, Sink, copy_stream, hasher};
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};
use std::time::Duration;
use tokio::time::Instant;

const SHARD: &[u8] = include_bytes!("../../../../tests/fixtures/shards/streamed.tar");
const BLOCK: usize = 512;

fn shard() -> Expected {
    Expected {
        kind: ArtifactKind::Shard(0),
        shards: Vec::new(),
        holds_points: true,
    }
}

async fn run_within(stream: Script, limits: &Limits, store: &Memory) -> Result<(Digest, ObjectMeta)> {
    let sink = Sink {
        store,
        key: KEY,
        limits,
        rate: None,
        on_bytes: Arc::default(),
    };
    copy_stream(Box::new(stream), shard(), sink).await
}

async fn run(stream: Script, store: &Memory) -> Result<(Digest, ObjectMeta)> {
    run_within(stream, &limits(), store).await
}

async fn fails(stream: Script, store: &Memory, code: Code) -> Error {
    let error = run(stream, store).await.unwrap_err();
    assert_eq!(error.code(), code, "{error}");
    assert_eq!(store.object(KEY), None);
    error
}

#[tokio::test(start_paused = true)]
async fn a_whole_stream_arrives_unchanged_with_its_digests() {
    let (store, passed) = (Memory::default(), Arc::new(AtomicU64::new(0)));
    let sink = Sink {
        store: &store,
        key: KEY,
        limits: &limits(),
        rate: None,
        on_bytes: Arc::clone(&passed),
    };
    let stream = Box::new(Script::new(SHARD, 7001));
    let (digest, stored) = copy_stream(stream, shard(), sink).await.unwrap();
    assert_eq!(store.object(KEY).unwrap(), SHARD);
    assert_eq!(Some(digest.sha256), expected(SHARD).sha256);
    assert_eq!(digest.crc32c, crc32c::crc32c(SHARD));
    assert_eq!((digest.bytes, stored.size), (SHARD.len() as u64, SHARD.len() as u64));
    assert_eq!(passed.load(Ordering::Relaxed), SHARD.len() as u64);
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_ends_early_is_never_published_wherever_it_ends() {
    for at in (0..SHARD.len()).step_by(BLOCK).chain([1, SHARD.len() - 1]) {
        let store = Memory::default();
        let error = fails(Script::new(&SHARD[..at], 70_001), &store, Code::LengthMismatch).await;
        assert!(!error.is_permanent(), "another stream may be whole");
        assert!(error.chain().contains(&format!("after {at} bytes")), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_is_no_archive_is_never_published() {
    let store = Memory::default();
    let mut bytes = SHARD.to_vec();
    bytes[1] ^= 1;
    let error = fails(Script::new(&bytes, 70_001), &store, Code::LengthMismatch).await;
    assert!(error.chain().contains("wrong checksum"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_fails_hands_its_own_error_through() {
    let stream = Script::new(SHARD, 1000).failing_after(50_000);
    fails(stream, &Memory::default(), Code::SnapshotChanged).await;
    // Even where all that is needed has come.
    let stream = Script::new(SHARD, 1000).failing_after(SHARD.len());
    fails(stream, &Memory::default(), Code::SnapshotChanged).await;
}

#[tokio::test(start_paused = true)]
async fn a_silent_side_is_named() {
    let stream = Script::new(SHARD, 1000).silent_after(5000);
    let error = fails(stream, &Memory::default(), Code::Stalled).await;
    stalls(&error, "Qdrant", &["60 s", "5000 bytes"]);
    let store = Memory::default().with(Fault::SilentAfter(5000));
    let error = fails(Script::new(SHARD, 1000), &store, Code::Stalled).await;
    stalls(&error, "memory:", &["60 s", "5000 bytes"]);
}

#[tokio::test(start_paused = true)]
async fn a_store_is_not_waited_for_until_qdrant_ends_the_stream() {
    let patient = Limits {
        idle: Duration::from_secs(3600),
        window: Duration::from_secs(7200),
        ..limits()
    };
    let (store, start) = (Memory::default().with(Fault::SilentAfter(5000)), Instant::now());
    let error = run_within(Script::new(SHARD, 1000), &patient, &store)
        .await
        .unwrap_err();
    stalls(&error, "memory:", &["240 s"]);
    assert!(start.elapsed() < Duration::from_secs(300), "Qdrant's limit");
}

#[tokio::test(start_paused = true)]
async fn a_trickle_is_a_stall() {
    let slow = Script::new(SHARD, 100).pausing(Duration::from_secs(10));
    let error = fails(slow, &Memory::default(), Code::Stalled).await;
    stalls(&error, "Qdrant", &[]);
    let store = Memory::default().with(Fault::Pausing(Duration::from_secs(10)));
    let error = fails(Script::new(SHARD, 100), &store, Code::Stalled).await;
    stalls(&error, "memory:", &[]);
}

#[tokio::test(start_paused = true)]
async fn an_object_that_the_store_holds_differently_is_removed_again() {
    for (fault, code) in [
        (Fault::OtherCrc, Code::ChecksumMismatch),
        (Fault::NoCrc, Code::ChecksumMismatch),
        (Fault::OtherSize, Code::LengthMismatch),
        (Fault::StopsReading, Code::Internal),
    ] {
        let store = Memory::default().with(fault);
        fails(Script::new(SHARD, 1000), &store, code).await;
    }
}

#[tokio::test]
async fn dropping_the_transfer_drops_the_stream() {
    let store = Arc::new(Memory::default().with(Fault::ReadsInATask));
    let stream = Script::new(SHARD, 1000).silent_after(5000);
    let gone = stream.gone();
    let transfer = tokio::spawn({
        let store = Arc::clone(&store);
        async move { run(stream, &store).await }
    });
    store.until_received(5000).await;
    transfer.abort();
    let error = store.reading_task().await.unwrap().unwrap_err();
    assert_eq!(error.code(), Code::Cancelled);
    assert!(gone.upgrade().is_none());
    assert_eq!(store.object(KEY), None);
}

#[tokio::test]
async fn chunks_in_memory_stay_within_the_queue() {
    // As long as it takes, although it is no snapshot.
    let bytes = super::body(64 << 20);
    let stream = Script::new(&bytes, 100_000).counting_memory();
    let memory = stream.memory();
    fails(stream, &Memory::default(), Code::LengthMismatch).await;
    let most = memory.most.load(Ordering::Relaxed);
    assert!(most <= hasher::QUEUE_BYTES + 200_000, "{most} bytes");
}
