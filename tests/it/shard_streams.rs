//! Shards that Qdrant streams, from the wire into a store: what is published is whole, and nothing else is left.

use qdrant_backup::base::error::{Code, Error, Result};
use qdrant_backup::base::snapshot::{ArtifactKind, Expected};
use qdrant_backup::wire::qdrant::{Options, Qdrant};
use qdrant_backup::wire::store::{ByteStream, ObjectMeta};
use qdrant_backup::wire::transfer::{Digest, Limits, Sink, copy_stream};
use std::sync::Arc;
use std::time::Duration;
use testkit::peer::{Fetch, Peer};
use testkit::store::{TestStore, read};
use tokio::sync::Semaphore;

const SHARD: &[u8] = include_bytes!("../fixtures/shards/streamed.tar");
const KEY: &str = "backups/x/a/shard-0.snapshot";
/// Where its last entries begin.
const NEARLY: usize = SHARD.len() - 1024 - 4 * 512;

async fn peer() -> Peer {
    let peer = Peer::start(&[("a", 1000)]).await;
    peer.with("a", |a| a.streamed = Some(SHARD.into()));
    peer
}

fn options(peer: &Peer) -> Options {
    Options::new(peer.url.parse().unwrap())
}

async fn copied(options: Options, into: &TestStore) -> Result<(Digest, ObjectMeta)> {
    let stream = Qdrant::new(options).unwrap().stream_shard("a", 0).await?;
    let expected = Expected {
        kind: ArtifactKind::Shard(0),
        shards: Vec::new(),
        holds_points: true,
    };
    let sink = Sink {
        store: &*into.store,
        key: KEY,
        limits: &Limits::default(),
        rate: None,
        on_bytes: Arc::default(),
    };
    copy_stream(Box::new(stream), expected, sink).await
}

async fn begins(options: Options) -> Result<(), Error> {
    Qdrant::new(options).unwrap().stream_shard("a", 0).await.map(drop)
}

#[tokio::test]
async fn a_stream_comes_into_either_store_as_it_is() {
    for store in [TestStore::in_directory().await, TestStore::in_emulator().await] {
        let peer = peer().await;
        let (digest, meta) = copied(options(&peer), &store).await.unwrap();
        assert_eq!(read(&*store.store, KEY).await.unwrap(), SHARD);
        assert_eq!((digest.bytes, meta.size), (SHARD.len() as u64, SHARD.len() as u64));
        assert_eq!(digest.sha256_hex(), qdrant_backup::base::hash::sha256_hex(SHARD));
    }
}

#[tokio::test]
async fn a_stream_that_ends_early_is_never_published_and_never_resumed() {
    let store = TestStore::in_emulator().await;
    for (script, code) in [
        (Fetch::CleanEnd(0), Code::LengthMismatch),
        (Fetch::CleanEnd(512), Code::LengthMismatch),
        (Fetch::CleanEnd(NEARLY), Code::LengthMismatch),
        (Fetch::CleanEnd(SHARD.len() - 1024), Code::LengthMismatch),
        (Fetch::CleanEnd(SHARD.len() - 1), Code::LengthMismatch),
        (Fetch::FlipBit(NEARLY), Code::LengthMismatch),
        (Fetch::Cut(NEARLY), Code::QdrantUnreachable),
        // All of it, and then the connection breaks.
        (Fetch::Cut(SHARD.len()), Code::QdrantUnreachable),
    ] {
        let peer = peer().await;
        peer.on_stream("a", [script.clone()]);
        let error = copied(options(&peer), &store).await.unwrap_err();
        assert_eq!(error.code(), code, "{script:?}: {error}");
        assert!(!error.is_permanent(), "another stream may be whole");
        assert_eq!(store.keys().await, [""; 0], "{script:?}");
        assert_eq!(peer.lock().log, ["GET /collections/a/shards/0/snapshot "]);
    }
    // The caller begins anew.
    let peer = peer().await;
    peer.on_stream("a", [Fetch::CleanEnd(NEARLY)]);
    copied(options(&peer), &store).await.unwrap_err();
    copied(options(&peer), &store).await.unwrap();
    assert_eq!(store.keys().await, [KEY]);
}

#[tokio::test]
async fn a_first_byte_that_does_not_come_is_a_stall() {
    let peer = peer().await;
    peer.on_stream("a", [Fetch::Stall(0)]);
    let dropped = peer.dropped_streams();
    let options = Options {
        first_byte: Duration::from_millis(50),
        ..options(&peer)
    };
    let error = begins(options).await.unwrap_err();
    assert_eq!(error.code(), Code::Stalled, "{error}");
    assert!(!error.is_permanent() && error.chain().contains("shard 0"), "{error}");
    dropped.acquire().await.unwrap().forget();
}

#[tokio::test]
async fn a_stream_that_stands_still_is_a_stall_and_given_back() {
    let peer = peer().await;
    peer.on_stream("a", [Fetch::Stall(20_000)]);
    let (dropped, store) = (peer.dropped_streams(), TestStore::in_directory().await);
    let options = Options {
        idle: Duration::from_millis(50),
        ..options(&peer)
    };
    let error = copied(options, &store).await.unwrap_err();
    assert_eq!(error.code(), Code::Stalled, "{error}");
    assert!(error.chain().contains("20000 bytes"), "{error}");
    dropped.acquire().await.unwrap().forget();
    assert_eq!(store.keys().await, [""; 0]);
}

#[tokio::test]
async fn a_stream_that_nobody_wants_any_more_is_given_back() {
    let peer = peer().await;
    let dropped = peer.dropped_streams();
    // Of more than the connection's buffers take.
    peer.with("a", |a| a.streamed = Some(testkit::source::noise(32 << 20, 1)));
    let mut stream = Qdrant::new(options(&peer)).unwrap().stream_shard("a", 0).await.unwrap();
    stream.next().await.unwrap().unwrap();
    assert_eq!(dropped.available_permits(), 0);
    drop(stream);
    dropped.acquire().await.unwrap().forget();
}

#[tokio::test]
async fn after_a_failure_there_is_no_end_that_could_be_taken_for_one() {
    let peer = peer().await;
    let [reached, go] = [(), ()].map(|()| Arc::new(Semaphore::new(0)));
    let script = Fetch::HeldThenCut {
        after: 20_000,
        reached,
        go: go.clone(),
    };
    peer.on_stream("a", [script]);
    let mut stream = Qdrant::new(options(&peer)).unwrap().stream_shard("a", 0).await.unwrap();
    go.add_permits(1);
    for _ in 0..3 {
        assert!(stream.next().await.unwrap().is_err());
    }
}

#[tokio::test]
async fn pieces_are_collected_however_small_they_come() {
    let peer = peer().await;
    let mut stream = Qdrant::new(options(&peer)).unwrap().stream_shard("a", 0).await.unwrap();
    let (mut all, mut pieces) = (Vec::new(), Vec::new());
    while let Some(piece) = stream.next().await {
        let piece = piece.unwrap();
        all.extend_from_slice(&piece);
        pieces.push(piece.len());
    }
    assert_eq!(all, SHARD);
    // The peer writes 8 KiB at a time.
    let (last, others) = pieces.split_last().unwrap();
    assert!(*last > 0 && others.iter().all(|len| *len >= 64 << 10), "{pieces:?}");
    assert!(stream.next().await.is_none());
}

#[tokio::test]
async fn a_refusal_is_told_as_one() {
    let peer = peer().await;
    peer.on_stream("a", [Fetch::Unavailable, Fetch::Gone]);
    assert_eq!(
        begins(options(&peer)).await.unwrap_err().code(),
        Code::QdrantUnreachable
    );
    assert_eq!(
        begins(options(&peer)).await.unwrap_err().code(),
        Code::CollectionNotFound
    );
    peer.lock().read_only = true;
    assert_eq!(begins(options(&peer)).await.unwrap_err().code(), Code::QdrantForbidden);
    peer.lock().api_key = Some("other".into());
    assert_eq!(
        begins(options(&peer)).await.unwrap_err().code(),
        Code::QdrantUnauthorized
    );
}

/// Against a server: `QDRANT_TEST_STREAM=http://host:6333 cargo test --test it -- --ignored streams_of_a_server`, which must have
/// a collection `c` with some points in its shard 0.
#[tokio::test]
#[ignore = "needs a server"]
async fn streams_of_a_server_are_whole() {
    let url = std::env::var("QDRANT_TEST_STREAM").unwrap();
    let qdrant = Qdrant::new(Options::new(url.parse().unwrap())).unwrap();
    for store in [TestStore::in_directory().await, TestStore::in_emulator().await] {
        let stream = qdrant.stream_shard("c", 0).await.unwrap();
        let expected = Expected {
            kind: ArtifactKind::Shard(0),
            shards: Vec::new(),
            holds_points: true,
        };
        let sink = Sink {
            store: &*store.store,
            key: KEY,
            limits: &Limits::default(),
            rate: None,
            on_bytes: Arc::default(),
        };
        let (digest, meta) = copy_stream(Box::new(stream), expected, sink).await.unwrap();
        assert_eq!(digest.bytes, meta.size);
    }
}
