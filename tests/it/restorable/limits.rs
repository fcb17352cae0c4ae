//! What is written can be read again: what Qdrant says of one collection cannot spoil the manifest of all.

use qdrant_backup::ops::backup::{BackupOutcome, BackupReport};
use qdrant_backup::repository::intents;
use serde_json::{Value, json};
use std::sync::Arc;
use testkit::bench::Bench;
use testkit::peer::{Create, Peer};
use testkit::process;
use tokio::sync::Semaphore;

/// A value that nests so deep.
fn nested(levels: usize) -> Value {
    (0..levels).fold(json!(1), |inner, _| json!({ "d": inner }))
}

async fn with_metadata(metadata: Value) -> (Peer, Bench) {
    let peer = Peer::start(&[("a", 1000), ("odd", 1000), ("z", 1000)]).await;
    peer.lock().collections.get_mut("odd").unwrap().metadata = Some(metadata);
    let bench = Bench::new(&peer.url).await;
    (peer, bench)
}

/// Only `odd` is missing in a backup that can be read, and its limit is told.
async fn only_odd_failed(bench: &Bench, report: &BackupReport, limit: usize) {
    assert_eq!(report.status, BackupOutcome::Partial, "{limit}");
    let failure = &report.failed[0];
    assert_eq!(
        (
            report.failed.len(),
            failure.collection.as_str(),
            failure.error.code.as_str()
        ),
        (1, "odd", "unsupported"),
        "{failure:?}"
    );
    assert!(
        failure.error.message.contains(&limit.to_string()) && failure.error.remedy.is_some(),
        "{failure:?}"
    );
    let manifest = bench.manifest(report).await;
    let saved: Vec<_> = manifest.collections.iter().map(|c| c.name.as_str()).collect();
    assert_eq!(saved, ["a", "z"]);
}

#[tokio::test]
async fn metadata_of_any_depth_costs_no_other_collection() {
    // In a manifest it lies one level deeper than in the answer; the second one is beyond the reader of the answer, too.
    for levels in [124, 200] {
        let (peer, bench) = with_metadata(nested(levels)).await;
        let report = bench.run().await.unwrap();
        only_odd_failed(&bench, &report, 127).await;
        assert_eq!(peer.requests("POST /collections/odd/snapshots"), 0, "{levels}: in vain");
    }
    let (_peer, bench) = with_metadata(nested(120)).await;
    let report = bench.run().await.unwrap();
    assert_eq!(report.status, BackupOutcome::Complete);
    assert_eq!(
        bench.manifest(&report).await.collections[1].config["metadata"],
        nested(120)
    );
}

#[tokio::test]
async fn a_manifest_is_not_much_longer_than_what_it_says() {
    let deep = (0..100).fold(json!((0..1000).collect::<Vec<_>>()), |inner, _| json!([inner]));
    let metadata = json!({"many": vec![deep; 20]});
    let said = metadata.to_string().len();
    let (_peer, bench) = with_metadata(metadata.clone()).await;
    let report = bench.run().await.unwrap();
    assert_eq!(report.status, BackupOutcome::Complete);
    let key = report.id.manifest();
    let written = std::fs::metadata(bench.dir.path().join(key)).unwrap().len();
    assert!(written < said as u64 + 10_000, "{written} bytes for {said}");
    assert_eq!(
        bench.manifest(&report).await.collections[1].config["metadata"],
        metadata
    );
    // So is what a person is shown.
    let child = process::command(&["show", "latest", "--json"], "http://127.0.0.1:1", bench.dir.path()).spawn();
    let (code, out, err) = process::finish(child.unwrap()).await;
    assert!(code == Some(0) && out.len() < said + 20_000, "{} {err}", out.len());
    let shown: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(shown["collections"][1]["config"]["metadata"], metadata);
}

#[tokio::test]
async fn a_collection_of_which_qdrant_says_too_much_fails_alone() {
    let (_peer, bench) = with_metadata(json!({"text": "x".repeat(17 << 20)})).await;
    let report = bench.run().await.unwrap();
    only_odd_failed(&bench, &report, 16 << 20).await;
}

#[tokio::test]
async fn an_intent_stays_small_however_many_snapshots_others_have() {
    let peer = Peer::start(&[("c", 1000)]).await;
    let old = |i: u32| {
        format!(
            "c-4711-2024-01-01-{:02}-{:02}-{:02}.snapshot",
            i / 3600,
            i / 60 % 60,
            i % 60
        )
    };
    peer.lock().collections.get_mut("c").unwrap().others = (0..20_000).map(old).collect();
    let (reached, go) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let held = Create::Held {
        reached: reached.clone(),
        go: go.clone(),
    };
    peer.on_create("c", [held]);
    let bench = Bench::new(&peer.url).await;
    let look = async {
        reached.acquire().await.unwrap().forget();
        let keys = bench.keys().await;
        let key = keys.iter().find(|key| key.starts_with("intents/")).unwrap();
        let size = std::fs::metadata(bench.dir.path().join(key)).unwrap().len();
        go.add_permits(1);
        size
    };
    let (report, size) = tokio::join!(bench.run(), look);
    assert_eq!(report.unwrap().status, BackupOutcome::Complete);
    assert!(size < 1000, "{size} bytes");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_intent_that_cannot_be_read_is_told_and_stops_no_backup() {
    let peer = Peer::start(&[("c", 1000)]).await;
    let bench = Bench::new(&peer.url).await;
    let folder = bench.dir.path().join("intents/2026-11-01T00-00-00Z");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("c-1.json"), b"{").unwrap();
    let large = std::fs::File::create(folder.join("c-2.json")).unwrap();
    large.set_len(19_000_000).unwrap();
    for _ in 0..2 {
        let report = bench.run().await.unwrap();
        assert_eq!(report.status, BackupOutcome::Complete);
        let warnings = report.warnings.join("\n");
        assert_eq!(report.warnings.len(), 2, "{warnings}");
        for key in ["c-1.json", "c-2.json"] {
            assert!(warnings.contains(key), "{warnings}");
        }
    }
    assert_eq!(intents::unreadable(&*bench.ctx.store).await.unwrap().len(), 2);
    let child = process::command(&["check", "--json"], &peer.url, bench.dir.path())
        .spawn()
        .unwrap();
    let (code, out, err) = process::finish(child).await;
    assert_eq!(code, Some(0), "{out}{err}");
    let report: Value = serde_json::from_str(&out).unwrap();
    let lines = report["checks"].as_array().unwrap().iter();
    let lines: Vec<_> = lines.filter(|line| line["check"] == "intents").collect();
    assert_eq!(lines.len(), 2, "{out}");
    for (line, key) in lines.iter().zip(["c-1.json", "c-2.json"]) {
        assert_eq!(line["state"], "warn", "{line}");
        assert!(
            line["message"].as_str().unwrap().contains(key) && line["remedy"].is_string(),
            "{line}"
        );
    }
}
