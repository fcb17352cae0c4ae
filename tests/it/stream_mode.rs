//! Backups that write nothing to Qdrant's disk.

use qdrant_backup::base::clock::Clock;
use qdrant_backup::base::error::Code;
use qdrant_backup::base::snapshot::ArtifactKind;
use qdrant_backup::ops::backup::BackupReport;
use qdrant_backup::ops::verify::{Verifier, VerifyVerdict};
use qdrant_backup::repository::unit::SnapshotMode;
use std::sync::Arc;
use std::time::Duration;
use testkit::bench::Bench;
use testkit::peer::{Fetch, PEER_ID, Peer};
use tokio::sync::Semaphore;

pub(crate) const SHARD: &[u8] = include_bytes!("../fixtures/shards/streamed.tar");
/// Where its last entries begin.
const NEARLY: usize = SHARD.len() - 1024 - 4 * 512;

/// One whose shards can be streamed.
pub(crate) async fn peer() -> Peer {
    let peer = Peer::start(&[("a", 1000), ("b", 1000)]).await;
    for name in ["a", "b"] {
        peer.with(name, |c| c.streamed = Some(SHARD.into()));
    }
    peer
}

pub(crate) async fn bench(peer: &Peer, mode: SnapshotMode) -> Bench {
    let mut bench = Bench::new(&peer.url).await;
    bench.ctx.settings.mode = mode;
    bench
}

/// No snapshot was made, and none was looked for.
fn disk_is_untouched(peer: &Peer) {
    assert_eq!(peer.requests("/snapshots"), 0, "{:?}", peer.lock().log);
}

fn failed(report: &BackupReport) -> Vec<(&str, &str)> {
    let failed = report.failed.iter();
    failed.map(|f| (f.collection.as_str(), f.error.code.as_str())).collect()
}

#[tokio::test]
async fn shards_are_streamed_and_nothing_is_written_to_the_disk_of_qdrant() {
    let peer = peer().await;
    let bench = bench(&peer, SnapshotMode::Stream).await;
    let report = bench.run().await.unwrap();
    assert!(report.error().is_none(), "{:?}", failed(&report));
    let manifest = bench.manifest(&report).await;
    for collection in &manifest.collections {
        let [artifact] = &collection.artifacts[..] else {
            panic!("{:?}", collection.artifacts);
        };
        assert_eq!((artifact.kind, artifact.node), (ArtifactKind::Shard(0), Some(PEER_ID)));
        assert!(artifact.snapshot.is_empty() && !artifact.optimizing && !artifact.sha256_confirmed_by_qdrant);
        assert!(artifact.points_before.is_some() && artifact.points_after.is_some());
        assert_eq!(bench.artifact(artifact).await, SHARD);
        assert_eq!(collection.warnings, [""; 0]);
    }
    disk_is_untouched(&peer);
    assert!(bench.keys().await.iter().all(|key| !key.starts_with("intents/")));
}

#[tokio::test]
async fn a_stream_that_ends_early_is_begun_anew() {
    let peer = peer().await;
    peer.on_stream("a", [Fetch::CleanEnd(NEARLY)]);
    peer.on_stream("b", [Fetch::Cut(NEARLY)]);
    let bench = bench(&peer, SnapshotMode::Stream).await;
    let report = bench.run().await.unwrap();
    assert!(report.error().is_none(), "{:?}", failed(&report));
    for collection in &bench.manifest(&report).await.collections {
        assert_eq!(bench.artifact(&collection.artifacts[0]).await, SHARD);
    }
    assert_eq!(peer.requests("/shards/0/snapshot"), 4);
    disk_is_untouched(&peer);
}

#[tokio::test]
async fn a_stream_that_never_is_whole_is_no_backup() {
    let peer = peer().await;
    peer.on_stream("a", [Fetch::CleanEnd(NEARLY), Fetch::CleanEnd(0)]);
    let bench = bench(&peer, SnapshotMode::Stream).await;
    let report = bench.run().await.unwrap();
    assert_eq!(failed(&report), [("a", "length_mismatch")]);
    let objects: Vec<_> = bench
        .keys()
        .await
        .into_iter()
        .filter(|key| key.ends_with(".snapshot"))
        .collect();
    assert_eq!(objects.len(), 1, "{objects:?}");
    disk_is_untouched(&peer);
}

#[tokio::test]
async fn an_optimizer_at_work_is_waited_for() {
    let peer = peer().await;
    // While the stream is held, too: then it is given back.
    peer.with("a", |a| a.optimizing = 2);
    let dropped = peer.dropped_streams();
    let bench = bench(&peer, SnapshotMode::Stream).await;
    let report = bench.run().await.unwrap();
    let manifest = bench.manifest(&report).await;
    assert!(manifest.collections.iter().all(|c| !c.artifacts[0].optimizing));
    assert!(dropped.available_permits() >= 2);
}

#[tokio::test]
async fn an_optimizer_that_does_not_end_is_told() {
    let peer = peer().await;
    peer.with("a", |a| a.optimizing = usize::MAX);
    let mut bench = bench(&peer, SnapshotMode::Stream).await;
    bench.ctx.settings.settle = Duration::ZERO;
    let report = bench.run().await.unwrap();
    let manifest = bench.manifest(&report).await;
    let optimizing: Vec<_> = manifest.collections.iter().map(|c| c.artifacts[0].optimizing).collect();
    assert_eq!(optimizing, [true, false]);
    assert_eq!(manifest.collections[0].warnings.len(), 1);
    disk_is_untouched(&peer);
}

#[tokio::test]
async fn what_cannot_be_streamed_is_refused_before_anything_is_written() {
    let peer = peer().await;
    peer.lock().version = Some("1.16.3");
    let bench = bench(&peer, SnapshotMode::Stream).await;
    let error = bench.run().await.unwrap_err();
    assert_eq!(error.code(), Code::Unsupported, "{error}");
    assert!(error.remedy_text().unwrap().contains("SNAPSHOT_MODE=file"), "{error}");
    peer.lock().version = None;
    peer.with("b", |b| b.remote_shards = true);
    let report = bench.run().await.unwrap();
    assert_eq!(failed(&report), [("b", "unsupported")]);
    disk_is_untouched(&peer);
}

#[tokio::test]
async fn a_run_that_is_stopped_drops_its_stream_and_fears_nothing_of_it() {
    let peer = peer().await;
    let (reached, dropped) = (Arc::new(Semaphore::new(0)), peer.dropped_streams());
    let held = Fetch::Held {
        after: NEARLY,
        reached: reached.clone(),
        go: Arc::new(Semaphore::new(0)),
    };
    peer.on_stream("a", [held]);
    let mut bench = bench(&peer, SnapshotMode::Stream).await;
    bench.ctx.settings.concurrency = 1;
    let stop = async {
        reached.acquire().await.unwrap().forget();
        bench.cancel.cancel();
    };
    let (error, ()) = tokio::join!(bench.run(), stop);
    let error = error.unwrap_err();
    assert_eq!(error.code(), Code::Cancelled, "{error}");
    let remedy = error.remedy_text().unwrap();
    assert!(remedy.contains("nothing is left"), "{remedy}");
    dropped.acquire().await.unwrap().forget();
    assert!(bench.has_no_backup().await);
    disk_is_untouched(&peer);
}

#[tokio::test]
async fn a_backup_of_streams_is_verified_as_any_other() {
    let peer = peer().await;
    let bench = bench(&peer, SnapshotMode::Stream).await;
    let report = bench.run().await.unwrap();
    let verifier = Verifier {
        notify: Default::default(),
        store: bench.ctx.store.clone(),
        clock: Clock::system(),
        who: "test".into(),
        concurrency: 2,
        attempts: 1,
        backoff: Duration::ZERO,
    };
    let verified = verifier.run(&report.id).await.unwrap();
    assert_eq!(verified.verdict, VerifyVerdict::Intact);
}
