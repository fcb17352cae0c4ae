//! One cause is told once: what the key or the account may not do is asked once, and not again for each collection.

use qdrant_backup::base::error::Code;
use qdrant_backup::ops::backup::BackupOutcome;
use qdrant_backup::ops::drill;
use qdrant_backup::ops::restore::{RestoreOutcome, RestoreRequest};
use qdrant_backup::repository::selection::Selection;
use serde_json::Value;
use testkit::bench::Bench;
use testkit::lost::Lost;
use testkit::peer::{Peer, Upload};
use testkit::process;

const NAMES: [&str; 8] = ["a", "b", "c", "d", "e", "f", "g", "h"];

async fn bench() -> (Peer, Bench) {
    let peer = Peer::start(&NAMES.map(|name| (name, 10))).await;
    let mut bench = Bench::new(&peer.url).await;
    bench.ctx.settings.concurrency = 1;
    (peer, bench)
}

#[tokio::test]
async fn a_key_that_ends_in_mid_backup_is_refused_once() {
    let (peer, bench) = bench().await;
    // Two counts for each: the third collection is refused.
    peer.change_key_at_count(5);
    let report = bench.run().await.unwrap();
    assert_eq!(report.status, BackupOutcome::Partial);
    assert_eq!((report.collections.len(), report.failed.len()), (2, 6), "{report:?}");
    let unauthorized = Code::QdrantUnauthorized.to_string();
    assert!(report.failed.iter().all(|f| f.error.code == unauthorized), "{report:?}");
    assert_eq!(peer.requests("GET /collections/d"), 0, "asked again");
}

#[tokio::test]
async fn a_key_that_ends_in_the_only_collection_is_that_collections_failure() {
    let (peer, bench) = bench().await;
    peer.change_key_at_count(2);
    let only = Selection {
        collections: vec!["a".into()],
        ..Selection::default()
    };
    let report = bench.run_for(&only).await.unwrap();
    assert_eq!((report.status, report.failed.len()), (BackupOutcome::Failed, 1));
}

#[tokio::test]
async fn a_restore_that_the_key_may_not_make_is_tried_once() {
    for after in [false, true] {
        let lost = Lost::new().await;
        let request = RestoreRequest {
            selection: Selection::default(),
            ..lost.request()
        };
        // The right ends when all is planned, for the first or for the second.
        if after {
            lost.upload(Upload::NewField);
        }
        lost.upload(Upload::Forbidden);
        let report = lost.run(&request).await.unwrap();
        let uploads = lost.peer.requests("/snapshots/upload");
        match after {
            false => {
                assert_eq!((report.status, uploads), (RestoreOutcome::Failed, 1), "{report:?}");
                assert_eq!(report.failed[1].state, "unchanged: not started");
                let codes: Vec<_> = report.failed.iter().map(|f| f.error.code).collect();
                assert_eq!(codes, [Code::QdrantForbidden; 2]);
                let text = report.error().unwrap().to_string();
                assert_eq!(text.matches("Global manage").count(), 1, "told twice: {text}");
            }
            true => assert_eq!(uploads, 2, "{report:?}"),
        }
    }
}

#[tokio::test]
async fn a_drill_that_the_key_may_not_hold_is_no_verdict_on_the_backup() {
    let (peer, bench) = bench().await;
    let id = bench.run().await.unwrap().id;
    peer.lock().upload.push_back(Upload::Forbidden);
    let error = bench.drill(id).await.unwrap_err();
    assert_eq!(error.code(), Code::QdrantForbidden, "{error}");
    assert_eq!(peer.requests("/snapshots/upload"), 1);
    assert!(drill::read(&*bench.ctx.store, &id).await.unwrap().is_none());
    let left = peer
        .lock()
        .collections
        .keys()
        .any(|name| name.starts_with(drill::PREFIX));
    assert!(!left);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deep_check_tells_of_a_key_that_may_only_read_once() {
    let (peer, bench) = bench().await;
    peer.lock().read_only = true;
    let args = ["check", "--deep", "--json"];
    let child = process::command(&args, &peer.url, bench.dir.path()).spawn();
    let (code, out, err) = process::finish(child.unwrap()).await;
    assert_eq!(code, Some(6), "{out}{err}");
    let report: Value = serde_json::from_str(&out).unwrap();
    let lines = report["checks"].as_array().unwrap();
    let state = |check: &str| lines.iter().find(|line| line["check"] == check).unwrap()["state"].clone();
    assert_eq!(
        (state("rights"), state("snapshot")),
        ("fail".into(), "skip".into()),
        "{out}"
    );
    let asked = peer
        .lock()
        .log
        .iter()
        .filter(|line| line.starts_with("POST") && line.contains("/snapshots"))
        // Of a shard that is not there: a trial of the rights.
        .filter(|line| !line.contains("/shards/4294967295/"))
        .count();
    assert_eq!(asked, 0);
}
