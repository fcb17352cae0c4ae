//! Collections that cannot be saved: tried again while there are attempts, given up afterwards.

use qdrant_backup::repository::catalog;
use qdrant_backup::repository::manifest::Status;
use serde_json::Value;
use testkit::job::{Execution, TASKS, end_of, name, succeeded};
use testkit::peer::{Create, Peer};

async fn peer(collections: u32) -> Peer {
    let names: Vec<_> = (0..collections).map(name).collect();
    let collections: Vec<_> = names.iter().map(|name| (name.as_str(), 1000)).collect();
    Peer::start(&collections).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_later_attempt_repairs_is_never_missing() {
    let peer = peer(16).await;
    for bench in Execution::both(&peer.url).await {
        peer.on_create("c03", [Create::Forbidden, Create::Forbidden]);
        let mut ends = bench.begin(0..TASKS, 0).await.ends().await;
        let (code, out, err) = ends.remove(&3).unwrap();
        assert_eq!(code, Some(3), "{out}{err}");
        let told: Value = serde_json::from_str(&out).unwrap();
        let report = &told["report"];
        assert_eq!(
            (&report["saved"][0]["name"], &report["failed"][0]["collection"]),
            (&"c11".into(), &"c03".into())
        );
        succeeded(&ends, "the others");
        assert_eq!(
            catalog::list(&*bench.store, 9, time::OffsetDateTime::now_utc())
                .await
                .unwrap()
                .len(),
            0,
            "nothing is committed without it"
        );

        let made = peer.requests("POST /collections/c11/snapshots");
        assert_eq!(bench.run(3, 1).await.0, Some(3), "and again");
        assert_eq!(bench.run(3, 2).await.0, Some(0));
        assert_eq!(
            peer.requests("POST /collections/c11/snapshots"),
            made,
            "what was saved is not saved again"
        );
        bench.is_whole(16, &[], "repaired").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_last_attempt_cannot_save_is_missing_and_the_others_are_not() {
    let peer = peer(16).await;
    for bench in Execution::both(&peer.url).await {
        peer.on_create("c03", [Create::Forbidden]);
        let mut first = (0..TASKS).collect::<Vec<_>>();
        first.retain(|task| *task != 3);
        succeeded(&bench.begin(first, 0).await.ends().await, "the others");
        let (code, out, err) = bench.run(3, 3).await;
        assert_eq!(code, Some(3), "{out}{err}");
        let manifest = bench.manifest().await;
        assert_eq!(manifest.status, Status::Partial);
        let failed: Vec<_> = manifest.failed.iter().map(|f| f.collection.as_str()).collect();
        assert_eq!((failed, manifest.collections.len()), (vec!["c03"], 15));
        bench.is_clean(&[], "partial").await;
        // It stays what it is, and stays a failure.
        let (code, out, _) = bench.run(3, 4).await;
        assert_eq!((code, out.contains("c03")), (Some(3), true), "{out}");
        assert_eq!(bench.manifest().await.failed.len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_does_not_tell_its_retries_gives_up_at_once() {
    let peer = peer(TASKS).await;
    let bench = Execution::in_directory(&peer.url).await;
    peer.on_create("c03", [Create::Forbidden]);
    let mut codes = Vec::new();
    for task in 0..TASKS {
        let mut command = bench.task(task, 0);
        command.env_remove("BACKUP_JOB_MAX_RETRIES");
        codes.push(end_of(command).await.0.unwrap());
    }
    // Task 3 fails as a whole, and the last one tells what the backup came to.
    assert_eq!(codes, [0, 0, 0, 4, 0, 0, 0, 3]);
    assert_eq!(bench.manifest().await.status, Status::Partial);
    bench.is_clean(&[], "partial").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn when_nothing_could_be_saved_there_is_no_backup() {
    let peer = peer(2).await;
    let bench = Execution::in_directory(&peer.url).await;
    for collection in ["c00", "c01"] {
        peer.on_create(collection, [Create::Forbidden]);
    }
    assert_eq!(bench.run(0, 3).await.0, Some(4));
    assert_eq!(bench.run(1, 3).await.0, Some(4));
    assert_eq!(
        catalog::list(&*bench.store, 9, time::OffsetDateTime::now_utc())
            .await
            .unwrap()
            .len(),
        0
    );
    bench.is_clean(&[], "failed").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collection_that_was_deleted_meanwhile_is_no_failure() {
    let peer = peer(TASKS).await;
    let bench = Execution::in_directory(&peer.url).await;
    peer.on_create("c03", [Create::ThenCollectionGone]);
    succeeded(&bench.begin(0..TASKS, 0).await.ends().await, "gone");
    let manifest = bench.manifest().await;
    assert_eq!((manifest.status, manifest.collections.len()), (Status::Complete, 7));
    assert!(
        manifest.warnings.iter().any(|w| w.contains("c03")),
        "{:?}",
        manifest.warnings
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_vanished_before_the_commit_ends_it() {
    let peer = peer(2).await;
    let bench = Execution::in_directory(&peer.url).await;
    assert_eq!(bench.run(0, 0).await.0, Some(0));
    let key = bench
        .keys()
        .await
        .into_iter()
        .find(|k| k.ends_with(".snapshot"))
        .unwrap();
    let version = bench.store.head(&key).await.unwrap().unwrap().version;
    assert!(bench.store.delete(&key, &version).await.unwrap());
    let (code, _, err) = bench.run(1, 0).await;
    assert_eq!(code, Some(9), "{err}");
    assert_eq!(
        catalog::list(&*bench.store, 9, time::OffsetDateTime::now_utc())
            .await
            .unwrap()
            .len(),
        0
    );
}
