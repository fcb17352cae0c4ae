//! What a run removes from Qdrant: all that it made, and nothing that it cannot know to be its own.

use qdrant_backup::base::error::Code;
use qdrant_backup::ops::backup::BackupOutcome;
use qdrant_backup::repository::selection::Selection;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use testkit::bench::Bench;
use testkit::faulty::{Twist, twisted};
use testkit::peer::{Create, Fetch, Peer};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;
use tokio::sync::Semaphore;

/// An intent of another run.
const THEIRS: &str = "intents/2999-01-01T00-00-00Z/c-1.json";

async fn with_script(
    create: impl IntoIterator<Item = Create>,
    fetch: impl IntoIterator<Item = Fetch>,
) -> (Peer, Bench) {
    let peer = Peer::start(&[("c", 3 << 20)]).await;
    peer.on_create("c", create);
    peer.on_fetch("c", fetch);
    let bench = Bench::new(&peer.url).await;
    (peer, bench)
}

/// The name that somebody else's snapshot of `c` made now has, on another node so that it is never that of ours.
fn name_now() -> String {
    let at = OffsetDateTime::now_utc()
        .format(format_description!("[year]-[month]-[day]-[hour]-[minute]-[second]"))
        .unwrap();
    format!("c-1-{at}.snapshot")
}

#[tokio::test]
async fn what_appears_while_qdrant_fails_to_make_ours_is_somebody_elses() {
    let (peer, bench) = with_script(
        [Create::FailsBesideAnothers, Create::Fails("No space left on device")],
        [],
    )
    .await;
    let report = bench.run().await.unwrap();
    assert_eq!(report.status, BackupOutcome::Failed, "{report:?}");
    assert_eq!(peer.snapshots("c").len(), 1, "their snapshot was deleted");
    assert_eq!(bench.keys().await, [""; 0], "no intent that a later run would act upon");
}

#[tokio::test]
async fn a_run_that_lost_its_lease_leaves_alone_what_its_successor_has_open() {
    let (reached, go) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let held = Fetch::Held {
        after: 1 << 20,
        reached: reached.clone(),
        go: go.clone(),
    };
    let (peer, bench) = with_script([], [held]).await;
    let dir = bench.dir.path().to_owned();
    let theirs = name_now();
    let thief = async {
        reached.acquire().await.unwrap().forget();
        // As a run on a machine whose clock is ahead would: it takes the lease, and has a snapshot open.
        let lock = r#"{"holder":"x","who":"somebody else","since":"2026-11-22T12:00:00Z","expires_at":"2999-01-01T00:00:00Z"}"#;
        std::fs::remove_file(dir.join("lock.json")).unwrap();
        std::fs::write(dir.join("lock.json"), lock).unwrap();
        peer.add_foreign("c", &theirs);
        let intent = serde_json::json!({
            "run": "2999-01-01T00-00-00Z",
            "collection": "c",
            "qdrant": bench.ctx.qdrant.url(),
            "existing": peer.snapshots("c").iter().filter(|n| **n != theirs).collect::<Vec<_>>(),
            "requested_at": OffsetDateTime::now_utc().format(&Rfc3339).unwrap(),
        });
        let key = dir.join(THEIRS);
        std::fs::create_dir_all(key.parent().unwrap()).unwrap();
        std::fs::write(key, intent.to_string()).unwrap();
        go.add_permits(1);
    };
    let (result, ()) = tokio::join!(bench.run(), thief);
    assert_eq!(result.unwrap_err().code(), Code::LeaseLost);
    assert_eq!(peer.snapshots("c"), [theirs]);
    let keys = bench.keys().await;
    assert!(keys.contains(&THEIRS.to_owned()), "{keys:?}");
    assert!(!keys.iter().any(|key| key.ends_with("manifest.json")), "{keys:?}");
}

#[tokio::test]
async fn the_snapshot_of_a_collection_that_was_deleted_is_removed_when_there_is_one_of_that_name_again() {
    let peer = Peer::start(&[("a", 1000), ("b", 1000)]).await;
    peer.on_create("b", [Create::ThenCollectionGone]);
    let bench = Bench::new(&peer.url).await;
    assert_eq!(bench.run().await.unwrap().status, BackupOutcome::Complete);
    let keys = bench.keys().await;
    let intents: Vec<_> = keys.iter().filter(|key| key.starts_with("intents/")).collect();
    assert_eq!(intents.len(), 1, "{keys:?}");
    // Qdrant keeps the files; with a collection of that name its API shows them again.
    let intent = std::fs::read_to_string(bench.dir.path().join(intents[0])).unwrap();
    let intent: serde_json::Value = serde_json::from_str(&intent).unwrap();
    let at = OffsetDateTime::parse(intent["requested_at"].as_str().unwrap(), &Rfc3339).unwrap();
    let at = at
        .format(format_description!("[year]-[month]-[day]-[hour]-[minute]-[second]"))
        .unwrap();
    peer.lock().collections.insert("b".to_owned(), Default::default());
    peer.add_foreign("b", &format!("b-{}-{at}.snapshot", testkit::peer::PEER_ID));
    bench.run().await.unwrap();
    assert_eq!(peer.snapshots("b"), [""; 0]);
    assert!(!bench.keys().await.iter().any(|key| key.starts_with("intents/")));
}

#[tokio::test]
async fn a_collection_that_was_asked_for_by_name_and_is_deleted_in_mid_run_is_missing_not_fine() {
    let peer = Peer::start(&[("a", 1000), ("b", 1000)]).await;
    peer.on_create("b", [Create::ThenCollectionGone]);
    let bench = Bench::new(&peer.url).await;
    let named = Selection {
        collections: vec!["a".into(), "b".into()],
        ..Selection::default()
    };
    let report = bench.run_for(&named).await.unwrap();
    assert_eq!(report.status, BackupOutcome::Partial, "{report:?}");
    assert_eq!(report.failed[0].collection, "b");
    assert_eq!(report.failed[0].error.code, Code::CollectionNotFound.to_string());
}

#[tokio::test]
async fn a_snapshot_of_another_collection_is_not_taken_for_the_one_asked_for() {
    let (peer, bench) = with_script([Create::OfAnother, Create::OfAnother], []).await;
    let report = bench.run().await.unwrap();
    assert_eq!(report.status, BackupOutcome::Failed, "{report:?}");
    assert_eq!(report.failed[0].error.code, Code::QdrantUnexpected.to_string());
    assert_eq!(peer.snapshots("c"), [""; 0], "it was made for us all the same");
}

#[tokio::test]
async fn when_recording_an_intent_takes_long_what_is_there_is_looked_at_again() {
    let (peer, mut bench) = with_script([Create::AnswerLost], []).await;
    let intents = AtomicUsize::new(0);
    let (listed, their) = (peer.clone(), name_now());
    let name = their.clone();
    bench.ctx.store = twisted(&bench.ctx.store, move |key| {
        if !key.starts_with("intents/") || intents.fetch_add(1, Ordering::SeqCst) > 0 {
            return Twist::None;
        }
        // Somebody else makes one meanwhile.
        listed.add_foreign("c", &name);
        Twist::After(Box::pin(async {
            tokio::time::pause();
            tokio::time::advance(Duration::from_secs(6)).await;
            tokio::time::resume();
        }))
    });
    let report = bench.run().await.unwrap();
    assert_eq!(report.status, BackupOutcome::Complete, "{report:?}");
    assert_eq!(peer.snapshots("c"), [their], "theirs stays, and ours goes");
    assert!(peer.requests("GET /collections/c/snapshots") >= 3);
}
