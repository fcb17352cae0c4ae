//! `SNAPSHOT_MODE=auto`: what cannot be saved one way is saved the other way.

use crate::stream_mode::{SHARD, peer};
use qdrant_backup::base::snapshot::ArtifactKind;
use qdrant_backup::ops::backup::{BackupOutcome, BackupReport};
use qdrant_backup::ops::restore::{RestoreOutcome, RestoreRequest};
use qdrant_backup::repository::catalog::{self, Mark};
use qdrant_backup::repository::manifest::Artifact;
use qdrant_backup::repository::unit::SnapshotMode;
use serde_json::{Value, json};
use std::time::Duration;
use testkit::bench::Bench;
use testkit::cluster::{Nodes, automatic, content, qdrant, restore_into};
use testkit::peer::{Create, Peer};
use testkit::process;
use testkit::proxy::{Fault, Proxy};

const FULL: &str = "Service internal error: failed to write: No space left on device (os error 28)";

async fn bench(peer: &Peer) -> Bench {
    crate::stream_mode::bench(peer, SnapshotMode::Auto).await
}

async fn marks(bench: &Bench) -> Vec<Mark> {
    let now = bench.ctx.clock.now();
    catalog::list(&*bench.ctx.store, 1, now).await.unwrap().remove(0).marks
}

/// The only artifact of each collection, and the warnings of all.
async fn saved(bench: &Bench, report: &BackupReport) -> (Vec<Artifact>, Vec<String>) {
    let manifest = bench.manifest(report).await;
    let (mut artifacts, mut warnings) = (Vec::new(), Vec::new());
    for mut collection in manifest.collections {
        assert_eq!(collection.artifacts.len(), 1);
        artifacts.append(&mut collection.artifacts);
        warnings.append(&mut collection.warnings);
    }
    (artifacts, warnings)
}

#[tokio::test]
async fn what_has_room_is_saved_by_files() {
    let peer = peer().await;
    let bench = bench(&peer).await;
    let report = bench.run().await.unwrap();
    assert_eq!((report.status, report.warnings.len()), (BackupOutcome::Complete, 0));
    let (artifacts, _) = saved(&bench, &report).await;
    assert!(
        artifacts
            .iter()
            .all(|a| a.kind == ArtifactKind::Collection && a.sha256_confirmed_by_qdrant)
    );
    assert_eq!(peer.requests("/shards/0/snapshot"), 0);
}

#[tokio::test]
async fn what_has_no_room_is_streamed_and_counts_as_good() {
    let peer = peer().await;
    peer.on_create("a", [Create::Fails(FULL)]);
    let bench = bench(&peer).await;
    let report = bench.run().await.unwrap();
    assert_eq!(report.status, BackupOutcome::Complete, "{report:?}");
    let (artifacts, warnings) = saved(&bench, &report).await;
    let kinds: Vec<_> = artifacts.iter().map(|artifact| artifact.kind).collect();
    assert_eq!(kinds, [ArtifactKind::Shard(0), ArtifactKind::Collection]);
    assert!(artifacts[0].snapshot.is_empty() && !artifacts[0].optimizing);
    assert_eq!(bench.artifact(&artifacts[0]).await, SHARD);
    assert_eq!((warnings.len(), report.warnings.len()), (1, 1), "{warnings:?}");
    let streamed: Vec<_> = report.collections.iter().map(|saved| saved.streamed).collect();
    assert_eq!(streamed, [1, 0]);
    assert_eq!(marks(&bench).await, [Mark::Good]);
    assert!(bench.keys().await.iter().all(|key| key.starts_with("backups/")));
}

#[tokio::test]
async fn an_old_version_is_not_streamed_from_however_full_its_disk_is() {
    let peer = peer().await;
    peer.lock().version = Some("1.16.3");
    peer.with("b", |b| b.cramped = true);
    // Once, and then as often as without the other way.
    peer.on_create("a", vec![Create::Fails(FULL); 3]);
    let bench = bench(&peer).await;
    let report = bench.run().await.unwrap();
    let failed: Vec<_> = report
        .failed
        .iter()
        .map(|f| (f.collection.as_str(), f.error.code.as_str()))
        .collect();
    assert_eq!(failed, [("a", "disk_full")]);
    assert_eq!(peer.requests("/shards/0/snapshot"), 0);
}

#[tokio::test]
async fn what_qdrant_lacks_the_room_to_optimize_is_streamed_at_once() {
    let peer = peer().await;
    peer.with("a", |a| a.cramped = true);
    let bench = bench(&peer).await;
    let report = bench.run().await.unwrap();
    assert_eq!(report.status, BackupOutcome::Complete, "{report:?}");
    let (artifacts, _) = saved(&bench, &report).await;
    let kinds: Vec<_> = artifacts.iter().map(|artifact| artifact.kind).collect();
    assert_eq!(kinds, [ArtifactKind::Shard(0), ArtifactKind::Collection]);
    assert_eq!(peer.requests("POST /collections/a/snapshots"), 0);
    assert!(
        report.warnings.iter().any(|w| w.contains("\"a\"")),
        "{:?}",
        report.warnings
    );
}

#[tokio::test]
async fn what_is_never_at_rest_is_saved_by_a_file_if_there_is_room_and_else_told() {
    for (script, kind, mark) in [
        (None, ArtifactKind::Collection, Mark::Good),
        (Some(Create::Fails(FULL)), ArtifactKind::Shard(0), Mark::Unproven),
    ] {
        let peer = peer().await;
        peer.with("a", |a| (a.cramped, a.optimizing) = (true, usize::MAX));
        peer.on_create("a", script);
        let mut bench = bench(&peer).await;
        bench.ctx.settings.settle = Duration::ZERO;
        let report = bench.run().await.unwrap();
        assert_eq!(report.status, BackupOutcome::Complete, "{report:?}");
        let (artifacts, warnings) = saved(&bench, &report).await;
        let is_shard = kind != ArtifactKind::Collection;
        assert_eq!((artifacts[0].kind, artifacts[0].optimizing), (kind, is_shard));
        assert_eq!(warnings.len(), 1 + usize::from(is_shard), "{warnings:?}");
        assert_eq!(marks(&bench).await, [mark]);
        assert_eq!(peer.snapshots("a"), [""; 0]);
        assert_eq!(
            peer.requests("/shards/0/snapshot"),
            usize::from(is_shard),
            "nothing is streamed in vain"
        );
    }
}

#[tokio::test]
async fn all_shards_of_a_collection_without_room_are_streamed_and_come_back() {
    let nodes = Nodes::start(1).await;
    automatic(&nodes.client(), "auto", 3, 1, 300).await;
    let proxy = Proxy::before(&nodes.url(1)).await;
    proxy.on("POST /collections/auto/snapshots", [Fault::Answer(500, FULL)]);
    let mut bench = Bench::new(&proxy.url).await;
    bench.ctx.settings.mode = SnapshotMode::Auto;
    let report = bench.run().await.unwrap();
    assert_eq!(report.status, BackupOutcome::Complete, "{report:?}");
    assert_eq!((report.collections[0].points, report.collections[0].streamed), (300, 3));
    let request = RestoreRequest {
        id: "latest".into(),
        into: Some("back".into()),
        ..RestoreRequest::default()
    };
    let restored = restore_into(&bench, qdrant(std::slice::from_ref(&proxy.url)), request)
        .await
        .unwrap();
    assert_eq!(restored.status, RestoreOutcome::Complete, "{restored:?}");
    assert_eq!(content(&proxy.url, "back").await, content(&proxy.url, "auto").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_of_a_job_streams_what_has_no_room() {
    let peer = peer().await;
    peer.on_create("b", [Create::Fails(FULL)]);
    let dir = tempfile::tempdir().unwrap();
    let mut reports = Vec::new();
    for task in ["0", "1"] {
        let mut command = process::task(task, &peer.url, dir.path());
        command.env("SNAPSHOT_MODE", "auto");
        let (code, out, err) = process::finish(command.spawn().unwrap()).await;
        assert_eq!(code, Some(0), "{out}{err}");
        reports.push(serde_json::from_str::<Value>(&out).unwrap());
    }
    let backup = &reports[1]["backup"];
    assert_eq!(
        (&backup["status"], &backup["collections"][1]["streamed"]),
        (&json!("complete"), &json!(1)),
        "{backup}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_tells_what_would_be_streamed() {
    let peer = peer().await;
    peer.with("a", |a| a.cramped = true);
    let dir = tempfile::tempdir().unwrap();
    let mut command = process::command(&["backup", "--dry-run", "--json"], &peer.url, dir.path());
    let (code, out, err) = process::finish(command.env("SNAPSHOT_MODE", "auto").spawn().unwrap()).await;
    assert_eq!(code, Some(0), "{out}{err}");
    let plan: Value = serde_json::from_str(&out).unwrap();
    let modes: Vec<_> = plan["units"]
        .as_array()
        .unwrap()
        .iter()
        .map(|unit| &unit["mode"])
        .collect();
    assert_eq!(modes, [&json!("stream"), &Value::Null], "{plan}");
}
