//! What a drill may leave on Qdrant when it is stopped or killed, and who deletes it.

use super::{collections, run, saved};
use qdrant_backup::base::error::Code;
use qdrant_backup::ops::backup::BackupOutcome;
use qdrant_backup::ops::drill::{DrillVerdict, PREFIX};
use serde_json::json;
use std::sync::Arc;
use testkit::bench::Bench;
use testkit::peer::{Peer, Upload};
use testkit::process::{command, finish};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::sync::Semaphore;

const INTENTS: &str = "intents/drills/";

/// An upload that the peer finishes, whoever is still there, when `go` has a permit.
fn goes_on(peer: &Peer) -> (Arc<Semaphore>, Arc<Semaphore>) {
    let (reached, go) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    peer.lock().upload.push_back(Upload::GoesOn {
        reached: reached.clone(),
        go: go.clone(),
    });
    (reached, go)
}

/// The temporary collections on the peer.
fn temporary(peer: &Peer) -> Vec<String> {
    let mut all = collections(peer);
    all.retain(|name| name.starts_with(PREFIX));
    all
}

async fn appears(peer: &Peer) -> String {
    loop {
        match temporary(peer).pop() {
            Some(name) => return name,
            None => tokio::task::yield_now().await,
        }
    }
}

async fn intents(bench: &Bench) -> Vec<String> {
    let mut keys = bench.keys().await;
    keys.retain(|key| key.starts_with("intents/"));
    keys
}

/// The intent of a drill that was killed at that time.
fn plant(bench: &Bench, key: &str, qdrant: &str, at: OffsetDateTime) {
    let path = bench.dir.path().join(key);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let at = at.format(&Rfc3339).unwrap();
    let content = json!({"qdrant": qdrant, "requested_at": at, "collection": "a"});
    std::fs::write(path, content.to_string()).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collection_that_qdrant_makes_after_the_cancel_is_waited_for_and_deleted() {
    let (peer, bench) = saved().await;
    let (reached, go) = goes_on(&peer);
    let stop = async {
        reached.acquire().await.unwrap().forget();
        assert_eq!(intents(&bench).await.len(), 1, "recorded before it is begun");
        bench.cancel.cancel();
        let looks = || {
            let log = &peer.lock().log;
            let of_it = log
                .iter()
                .filter(|l| l.starts_with(&format!("GET /collections/{PREFIX}")));
            of_it.filter(|l| l.contains("/snapshots ")).count()
        };
        while looks() == 0 {
            tokio::task::yield_now().await;
        }
        go.add_permits(1);
    };
    let (result, ()) = tokio::join!(run(&bench), stop);
    assert_eq!(result.unwrap_err().code(), Code::Cancelled);
    assert_eq!(collections(&peer), ["a", "b"]);
    let log = peer.lock().log.clone();
    let at = |what: &str| log.iter().rposition(|l| l.starts_with(what) && l.contains(PREFIX));
    let of_file = log
        .iter()
        .position(|l| l.starts_with("DELETE") && l.contains("/snapshots/qdrant-backup-"));
    assert!(of_file.is_some() && of_file < at("DELETE"), "first the file: {log:#?}");
    assert_eq!(intents(&bench).await, [""; 0]);
    assert!(!bench.keys().await.contains(&"lock.json".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_qdrant_makes_after_the_end_of_a_drill_is_deleted_by_the_next_backup_and_is_not_in_it() {
    let (peer, bench) = saved().await;
    let (reached, go) = goes_on(&peer);
    let stop = async {
        reached.acquire().await.unwrap().forget();
        bench.cancel.cancel();
    };
    let (result, ()) = tokio::join!(run(&bench), stop);
    assert_eq!(result.unwrap_err().code(), Code::Cancelled);
    let recorded = intents(&bench).await;
    assert!(recorded.len() == 1 && recorded[0].starts_with(INTENTS), "{recorded:?}");
    assert!(!bench.keys().await.contains(&"lock.json".to_owned()));

    let bench = Bench {
        cancel: Default::default(),
        ..bench
    };
    let report = bench.run().await.unwrap();
    assert_eq!(intents(&bench).await, recorded, "it may still come");
    assert!(report.warnings.is_empty(), "{report:?}");

    go.add_permits(1);
    let late = appears(&peer).await;
    let theirs = [format!("{PREFIX}somebody-elses"), format!("{PREFIX}0123456789ab-0")];
    for name in &theirs {
        peer.lock().collections.entry(name.clone()).or_default();
    }
    let report = bench.run().await.unwrap();
    assert_eq!(report.status, BackupOutcome::Complete, "{report:?}");
    let saved: Vec<_> = report.collections.iter().map(|c| c.name.as_str()).collect();
    assert!(!saved.contains(&late.as_str()) && saved.contains(&"a"), "{saved:?}");
    let mut expected = vec!["a".to_owned(), "b".to_owned()];
    expected.extend(theirs);
    expected.sort();
    assert_eq!(collections(&peer), expected);
    assert_eq!(intents(&bench).await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_drill_left_is_deleted_by_the_next_drill_or_restore() {
    for next in [
        &["drill", "latest", "--same-qdrant"][..],
        &["restore", "latest", "--into", "{}-2"],
    ] {
        let (peer, bench) = saved().await;
        let (reached, go) = goes_on(&peer);
        let child = command(&["drill", "latest", "--same-qdrant"], &peer.url, bench.dir.path()).spawn();
        let mut child = child.unwrap();
        reached.acquire().await.unwrap().forget();
        child.start_kill().unwrap(); // SIGKILL
        child.wait().await.unwrap();
        go.add_permits(1);
        let left = appears(&peer).await;
        let child = command(next, &peer.url, bench.dir.path()).spawn().unwrap();
        let (code, out, err) = finish(child).await;
        assert_eq!(code, Some(0), "{out}{err}");
        assert!(!out.contains(&left), "nothing is to be done by hand: {out}");
        assert_eq!(temporary(&peer), [""; 0], "{next:?}");
        assert_eq!(intents(&bench).await, [""; 0], "{next:?}");
    }
}

#[tokio::test]
async fn an_intent_of_a_drill_deletes_nothing_but_its_temporary_collection_and_ends_one_day() {
    let (peer, bench) = saved().await;
    let here = bench.ctx.qdrant.url();
    let now = OffsetDateTime::now_utc();
    let theirs = format!("{PREFIX}0123456789ab-1");
    for name in ["elsewhere", "0123456789ab-1", "0123456789ab-7"] {
        let name = format!("{PREFIX}{name}");
        peer.lock().collections.entry(name).or_default();
    }
    // Names of other things, or of nothing.
    for odd in [
        "a.json",
        "a-1.json",
        "0123456789AB-0.json",
        "x/0123456789ab-7.json",
        "0123456789ab-07.json",
    ] {
        plant(&bench, &format!("{INTENTS}{odd}"), &here, now);
    }
    // Another Qdrant's, and an old one.
    plant(
        &bench,
        &format!("{INTENTS}0123456789ab-1.json"),
        "http://another:6333",
        now,
    );
    let old = now - time::Duration::hours(49);
    plant(&bench, &format!("{INTENTS}0123456789ab-2.json"), &here, old);
    plant(&bench, &format!("{INTENTS}0123456789ab-3.json"), &here, now);
    let before = intents(&bench).await;
    let report = bench.run().await.unwrap();
    assert_eq!(report.warnings.len(), 5, "{:#?}", report.warnings);
    assert!(
        report
            .warnings
            .iter()
            .all(|w| w.contains("its name is not that of an intent of a drill"))
    );
    assert!(collections(&peer).contains(&theirs) && collections(&peer).contains(&"a".to_owned()));
    assert_eq!(temporary(&peer).len(), 3);
    let mut expected = before;
    expected.retain(|key| !key.contains("0123456789ab-2"));
    assert_eq!(intents(&bench).await, expected, "the old one is given up");

    peer.lock()
        .collections
        .entry(format!("{PREFIX}0123456789ab-3"))
        .or_default();
    let drilled = run(&bench).await.unwrap();
    assert_eq!(drilled.verdict, DrillVerdict::Passed, "{drilled:?}");
    assert_eq!(temporary(&peer).len(), 3, "{:?}", temporary(&peer));
    assert!(drilled.warnings.iter().any(|w| w.contains(&theirs)), "{drilled:?}");
}

#[tokio::test]
async fn a_drill_without_the_lease_deletes_nothing_of_others_and_leaves_no_intent() {
    let (peer, bench) = saved().await;
    let other = format!("{PREFIX}0123456789ab-0");
    peer.lock().collections.entry(other.clone()).or_default();
    plant(
        &bench,
        &format!("{INTENTS}0123456789ab-0.json"),
        &bench.ctx.qdrant.url(),
        OffsetDateTime::now_utc(),
    );
    let args = ["drill", "latest", "--same-qdrant", "--no-lock"];
    let child = command(&args, &peer.url, bench.dir.path()).spawn().unwrap();
    let (code, out, err) = finish(child).await;
    assert_eq!(code, Some(0), "{out}{err}");
    assert_eq!(temporary(&peer), [other], "that drill may be at work");
    assert_eq!(intents(&bench).await.len(), 1);
}
