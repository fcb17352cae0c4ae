//! The drill: what it proves, what it records, and that it deletes only what it made.

mod left;

use gcs_emulator::{Emulator, Fault, On};
use qdrant_backup::base::error::{Code, Result};
use qdrant_backup::ops::drill::{self, DrillReport, DrillVerdict, PREFIX};
use qdrant_backup::ops::progress::Progress;
use qdrant_backup::ops::restore::Timeouts;
use qdrant_backup::repository::catalog::State;
use qdrant_backup::repository::catalog::{self, Mark};
use qdrant_backup::wire::store::{GcsOptions, GcsStore};
use std::sync::Arc;
use std::time::Duration;
use testkit::bench::Bench;
use testkit::faulty::{Twist, twisted};
use testkit::peer::{Peer, Upload};
use testkit::place::{Place, node};
use testkit::process::{command, finish};
use tokio::sync::Semaphore;

fn patience() -> Timeouts {
    Timeouts {
        converge: Duration::from_millis(50),
        green: Duration::from_millis(50),
        poll: Duration::from_millis(5),
    }
}

async fn run(bench: &Bench) -> Result<DrillReport> {
    drill::run(
        &drill::DrillTarget {
            ctx: bench.ctx.clone(),
            elsewhere: false,
        },
        &drill::DrillRequest {
            id: "latest".into(),
            patience: patience(),
            ..drill::DrillRequest::default()
        },
        &Progress::new(bench.ctx.clock.now()),
        &bench.cancel,
    )
    .await
}

async fn saved() -> (Peer, Bench) {
    let peer = Peer::start(&[("a", 3 << 20), ("b", 1000)]).await;
    peer.lock().aliases.push(("live".into(), "a".into()));
    let bench = Bench::new(&peer.url).await;
    bench.run().await.unwrap();
    (peer, bench)
}

fn collections(peer: &Peer) -> Vec<String> {
    peer.lock().collections.keys().cloned().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_backup_passes_and_nothing_is_left_on_either_qdrant() {
    let (live, store) = (Place::new(20).await, tempfile::tempdir().unwrap());
    let (there, drill, _drill_dir) = node().await;
    let before = live.collections().await;
    let run = async |args: &[&str], env: &[(&str, &str)]| {
        let mut command = command(args, &live.client.url, store.path());
        command.envs(live.env()).envs(env.iter().copied());
        finish(command.spawn().unwrap()).await
    };
    let (code, _, err) = run(&["backup"], &[]).await;
    assert_eq!(code, Some(0), "{err}");

    let (code, _, err) = run(&["drill", "latest"], &[]).await;
    assert_eq!(
        code,
        Some(11),
        "the Qdrant that is backed up is used only when told: {err}"
    );
    assert!(
        err.contains("DRILL_QDRANT_URL") && err.contains("--same-qdrant"),
        "{err}"
    );
    let url = live.client.url.clone();
    let (code, _, err) = run(&["drill", "latest"], &[("DRILL_QDRANT_URL", &url)]).await;
    assert_eq!(code, Some(11), "also when it is named as the one for drills: {err}");

    let url = drill.url();
    let (code, out, err) = run(
        &["drill", "latest", "--json"],
        &[("DRILL_QDRANT_URL", &url), ("DRILL_QDRANT_API_KEY", "full")],
    )
    .await;
    assert_eq!(code, Some(0), "{out}{err}");
    let drilled: DrillReport = serde_json::from_str(&out).unwrap();
    assert_eq!(
        (drilled.verdict, drilled.collections.len(), drilled.warnings.len()),
        (DrillVerdict::Passed, live.samples.len(), 0),
        "{out}"
    );
    for sample in &live.samples {
        let drilled = drilled.collections.iter().find(|c| c.name == sample.name).unwrap();
        assert_eq!(drilled.points, Some(sample.points));
    }
    let list = there.call("GET", "/collections", None).await.unwrap();
    assert_eq!(list["collections"].as_array().unwrap().len(), 0);

    let (code, out, err) = run(&["drill", "latest", "--same-qdrant"], &[]).await;
    assert_eq!(code, Some(0), "{out}{err}");
    assert!(out.contains(&live.client.url), "where it was held: {out}");
    assert_eq!(live.collections().await, before);
    if !live.is_shared() {
        let all = live.client.call("GET", "/collections", None).await.unwrap();
        assert_eq!(all["collections"].as_array().unwrap().len(), before.len(), "{all}");
    }
    let record = store.path().join(format!("backups/{}/drilled.json", drilled.id));
    let last: DrillReport = serde_json::from_slice(&std::fs::read(record).unwrap()).unwrap();
    assert_eq!(
        last.target, live.client.url,
        "the last drill is the one that is recorded"
    );
    let (code, out, err) = run(&["list"], &[]).await;
    let words: Vec<_> = out.lines().nth(1).unwrap_or_default().split_whitespace().collect();
    assert!(
        code == Some(0) && words.contains(&"good") && words.contains(&"drilled"),
        "{out}{err}"
    );

    // At the end of a backup; whether it can be held is known before.
    let (code, _, err) = run(&["backup", "--drill"], &[]).await;
    assert_eq!(code, Some(11), "{err}");
    let (code, out, err) = run(
        &["backup", "--drill"],
        &[("DRILL_QDRANT_URL", &url), ("DRILL_QDRANT_API_KEY", "full")],
    )
    .await;
    assert_eq!(code, Some(0), "{out}{err}");
    assert!(out.contains(&url), "it was held there: {out}");
    let records = std::fs::read_dir(store.path().join("backups")).unwrap();
    assert!(
        records
            .map(|b| b.unwrap().path().join("drilled.json"))
            .all(|record| record.exists())
    );
    live.end().await;
    drill.stop().await;
}

#[tokio::test]
async fn it_deletes_only_what_it_made_and_touches_no_alias() {
    let (peer, bench) = saved().await;
    let theirs = format!("{PREFIX}somebody-elses");
    peer.lock().collections.entry(theirs.clone()).or_default();
    peer.lock().log.clear();
    let drilled = run(&bench).await.unwrap();
    assert_eq!(drilled.verdict, DrillVerdict::Passed);
    assert!(drilled.warnings.iter().any(|w| w.contains(&theirs)), "{drilled:?}");
    assert_eq!(collections(&peer), ["a".to_owned(), "b".to_owned(), theirs]);
    assert_eq!(peer.lock().aliases, [("live".to_owned(), "a".to_owned())]);
    let deleted: Vec<_> = peer
        .lock()
        .log
        .iter()
        .filter(|l| l.starts_with("DELETE /collections/") && !l.contains("/snapshots/"))
        .cloned()
        .collect();
    assert_eq!(deleted.len(), 2, "{deleted:?}");
    assert!(deleted.iter().all(|l| l.contains(PREFIX)), "{deleted:?}");
    let record = drill::read(&*bench.ctx.store, &drilled.id).await.unwrap().unwrap();
    assert_eq!(
        (record.verdict, record.by.as_str(), record.collections.len()),
        (DrillVerdict::Passed, "test", 2)
    );
}

#[tokio::test]
async fn what_was_found_is_told_also_where_it_cannot_be_recorded() {
    let peer = Peer::start(&[("a", 3 << 20), ("b", 1000)]).await;
    let emulator = Emulator::start().await.unwrap();
    emulator.create_bucket("test-bucket");
    let options = GcsOptions {
        endpoint: Some(emulator.url().to_owned()),
        ..GcsOptions::default()
    };
    let mut bench = Bench::new(&peer.url).await;
    bench.ctx.store = Arc::new(GcsStore::open("test-bucket", "", options).await.unwrap());
    bench.run().await.unwrap();
    let refused = Fault::Status {
        on: On::Start,
        code: 403,
    };
    emulator.fault("*drilled.json", 2, refused);

    let drilled = run(&bench).await.unwrap();
    let error = drilled.error().unwrap();
    assert_eq!(
        (drilled.verdict, error.code(), error.exit_code()),
        (DrillVerdict::Passed, Code::StoreForbidden, 7)
    );
    assert_eq!(drilled.not_recorded.unwrap().code, Code::StoreForbidden);

    peer.lock().upload.push_back(Upload::Empty);
    let drilled = run(&bench).await.unwrap();
    let error = drilled.error().unwrap();
    assert_eq!(
        (drilled.verdict, error.code(), error.exit_code()),
        (DrillVerdict::Failed, Code::RestoreFailed, 12)
    );
    assert_eq!(drilled.not_recorded.unwrap().code, Code::StoreForbidden);
    assert!(drill::read(&*bench.ctx.store, &drilled.id).await.unwrap().is_none());
}

#[tokio::test]
async fn a_backup_that_does_not_come_back_fails_and_that_is_recorded() {
    for script in [Upload::Empty, Upload::Dead, Upload::OtherConfig, Upload::Full] {
        let (peer, bench) = saved().await;
        peer.lock().upload.push_back(script.clone());
        let drilled = run(&bench).await.unwrap();
        assert_eq!(drilled.verdict, DrillVerdict::Failed, "{script:?}");
        let verdicts: Vec<_> = drilled.collections.iter().map(|c| c.verdict).collect();
        assert_eq!(verdicts, [DrillVerdict::Failed, DrillVerdict::Passed], "{script:?}");
        let error = drilled.error().unwrap();
        assert_eq!((error.code(), error.exit_code()), (Code::RestoreFailed, 12));
        assert_eq!(collections(&peer), ["a", "b"], "{script:?}");
        let record = drill::read(&*bench.ctx.store, &drilled.id).await.unwrap().unwrap();
        assert_eq!(record.verdict, DrillVerdict::Failed);
        let listed = catalog::newest(&*bench.ctx.store, time::OffsetDateTime::now_utc())
            .await
            .unwrap()
            .unwrap();
        assert_eq!(
            (listed.marks[0], listed.state(time::OffsetDateTime::now_utc())),
            (Mark::DrillFailed, State::Unknown)
        );
    }
    let (peer, bench) = saved().await;
    let id = catalog::newest(&*bench.ctx.store, time::OffsetDateTime::now_utc())
        .await
        .unwrap()
        .unwrap()
        .id;
    let object = bench.dir.path().join(format!("backups/{id}/b/collection.snapshot"));
    std::fs::remove_file(object).unwrap();
    let drilled = run(&bench).await.unwrap();
    let problem = drilled.collections[1].problem.as_deref().unwrap();
    assert_eq!(drilled.verdict, DrillVerdict::Failed);
    assert!(problem.contains("/b/collection.snapshot"), "{problem}");
    assert_eq!(collections(&peer), ["a", "b"]);
}

#[tokio::test]
async fn what_says_nothing_of_the_backup_is_no_verdict() {
    let (peer, bench) = saved().await;
    peer.lock().may_not_manage = true;
    assert_eq!(run(&bench).await.unwrap_err().code(), Code::QdrantForbidden);
    assert!(
        !bench
            .keys()
            .await
            .iter()
            .any(|k| k.ends_with("drilled.json") || k == "lock.json")
    );
}

#[tokio::test]
async fn a_refused_key_is_named_by_the_variable_that_holds_it() {
    let (peer, bench) = saved().await;
    let there = Peer::start(&[]).await;
    there.lock().api_key = Some("another".into());
    let run = async |args: &[&str], env: &[(&str, &str)]| {
        let mut command = command(args, &peer.url, bench.dir.path());
        command.envs(env.iter().copied());
        finish(command.spawn().unwrap()).await
    };
    let there = [
        ("QDRANT_API_KEY", "never-sent-there"),
        ("DRILL_QDRANT_URL", there.url.as_str()),
    ];
    for args in [&["drill", "latest"][..], &["backup", "--drill"]] {
        let (code, _, err) = run(args, &there).await;
        assert_eq!(code, Some(6), "{err}");
        let named = ["DRILL_QDRANT_API_KEY_FILE", " QDRANT_API_KEY"].map(|name| err.contains(name));
        assert_eq!(named, [true, false], "{err}");
    }
    peer.lock().api_key = Some("another".into());
    let (code, _, err) = run(&["drill", "latest", "--same-qdrant"], &[]).await;
    assert_eq!(code, Some(6), "{err}");
    let named = ["DRILL_QDRANT", " QDRANT_API_KEY"].map(|name| err.contains(name));
    assert_eq!(named, [false, true], "{err}");
}

#[tokio::test]
async fn told_to_stop_it_deletes_what_it_made_and_records_nothing() {
    let (peer, bench) = saved().await;
    let reached = Arc::new(Semaphore::new(0));
    peer.lock().upload.push_back(Upload::Held {
        reached: reached.clone(),
    });
    let stop = async {
        reached.acquire().await.unwrap().forget();
        bench.cancel.cancel();
    };
    let (result, ()) = tokio::join!(run(&bench), stop);
    assert_eq!(result.unwrap_err().code(), Code::Cancelled);
    assert_eq!(collections(&peer), ["a", "b"]);
    let asked = |what: &str| peer.requests(&format!("{what} /collections/{PREFIX}"));
    assert_eq!(asked("DELETE"), 3, "the file, which Qdrant may store late");
    assert!(
        asked("GET") > 3,
        "and the collection, which it may make late, is looked for"
    );
    assert!(
        !bench
            .keys()
            .await
            .iter()
            .any(|k| k.ends_with("drilled.json") || k == "lock.json")
    );
}

#[tokio::test]
async fn a_drill_from_a_store_that_takes_no_writes_is_held_and_says_that_nothing_is_recorded() {
    let (_peer, mut bench) = saved().await;
    bench.ctx.store = twisted(&bench.ctx.store.clone(), |_| Twist::Refused(Code::StoreForbidden));
    let drilled = run(&bench).await.unwrap();
    assert_eq!(drilled.verdict, DrillVerdict::Passed, "{drilled:?}");
    // That of the lease, which the store refused.
    assert!(
        drilled.warnings.len() == 1 && drilled.warnings[0].contains(&bench.ctx.store.url()),
        "{drilled:?}"
    );
    assert_eq!(drilled.error().unwrap().code(), Code::StoreForbidden);
    assert!(drilled.not_recorded.is_some());
}
