//! `check` says what it has tried and what not; with `--deep` it has Qdrant make a snapshot, and leaves nothing behind.

use crate::told::offers;
use qdrant_backup::ops::backup::BackupOutcome;
use qdrant_backup::ops::context::SourceSettings;
use qdrant_backup::repository::lease;
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use testkit::bench::Bench;
use testkit::peer::{Create, Fetch, PEER_ID, Peer};
use testkit::process;
use testkit::store::keys;
use tokio::sync::Semaphore;

/// Exit code, and the lines.
async fn check(args: &[&str], peer: &Peer, store: &Path) -> (Option<i32>, Vec<Value>) {
    let args = [&["check", "--json"], args].concat();
    let child = process::command(&args, &peer.url, store).spawn().unwrap();
    let (code, out, err) = process::finish(child).await;
    let mut report: Value = serde_json::from_str(&out).unwrap_or_else(|_| panic!("{out}{err}"));
    (code, report["checks"].take().as_array().unwrap().clone())
}

/// State and message of a line.
fn line(lines: &[Value], check: &str) -> (String, String) {
    let line = lines.iter().find(|line| line["check"] == check);
    let line = line.unwrap_or_else(|| panic!("no {check}: {lines:?}"));
    let text = |field: &str| line[field].as_str().unwrap().to_owned();
    (text("state"), text("message"))
}

async fn peer() -> Peer {
    let peer = Peer::start(&[("large", 3000), ("small", 1000)]).await;
    peer.lock().collections.get_mut("small").unwrap().points = 7;
    peer
}

/// Nothing of a check is left on Qdrant or in the store.
async fn is_clean(peer: &Peer, bench: &Bench) {
    for collection in ["large", "small"] {
        assert_eq!(peer.snapshots(collection), [""; 0]);
    }
    assert_eq!(keys(&*bench.ctx.store, "").await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_deep_check_makes_a_snapshot_and_a_plain_one_says_that_it_did_not() {
    let peer = peer().await;
    let bench = Bench::new(&peer.url).await;
    let (code, lines) = check(&[], &peer, bench.dir.path()).await;
    let (state, text) = line(&lines, "rights");
    assert_eq!((code, state.as_str()), (Some(0), "ok"), "{lines:?}");
    assert!(offers(&text, &["check", "--deep"]), "{text}");
    assert_eq!(peer.requests("POST /collections/small/snapshots"), 0);

    let (code, lines) = check(&["--deep"], &peer, bench.dir.path()).await;
    let (state, text) = line(&lines, "snapshot");
    assert_eq!((code, state.as_str()), (Some(0), "ok"), "{lines:?}");
    assert!(text.contains("\"small\"") && text.contains("1000 B"), "{text}");
    assert!(!offers(&line(&lines, "rights").1, &["check"]), "{lines:?}");
    assert_eq!(peer.requests("POST /collections/small/snapshots"), 1);
    assert_eq!(peer.requests("POST /collections/large/snapshots"), 0);
    is_clean(&peer, &bench).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deep_check_tells_why_no_snapshot_can_be_made() {
    for (script, says) in [
        (Create::Forbidden, "403"),
        (Create::Fails("No space left on device"), "No space left on device"),
        (Create::AnswerLost, "small"),
    ] {
        let peer = peer().await;
        let bench = Bench::new(&peer.url).await;
        peer.on_create("small", [script]);
        let (code, lines) = check(&["--deep"], &peer, bench.dir.path()).await;
        let (state, text) = line(&lines, "snapshot");
        assert_eq!((code, state.as_str()), (Some(6), "fail"), "{lines:?}");
        assert!(text.contains(says), "{text}");
        is_clean(&peer, &bench).await;
    }
}

/// The same in a mode in which shards are streamed.
async fn deep(mode: &str, peer: &Peer, store: &Path) -> (Option<i32>, (String, String)) {
    let mut command = process::command(&["check", "--deep", "--json"], &peer.url, store);
    let (code, out, err) = process::finish(command.env("SNAPSHOT_MODE", mode).spawn().unwrap()).await;
    let report: Value = serde_json::from_str(&out).unwrap_or_else(|_| panic!("{out}{err}"));
    (code, line(report["checks"].as_array().unwrap(), "snapshot"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deep_check_tries_what_a_backup_in_its_mode_would_do() {
    const SHARD: &[u8] = include_bytes!("../../fixtures/shards/streamed.tar");
    for (mode, files) in [("stream", 0), ("auto", 1)] {
        let peer = peer().await;
        peer.with("small", |c| c.streamed = Some(SHARD.into()));
        let bench = Bench::new(&peer.url).await;
        peer.on_create("small", [Create::Fails("No space left on device")]);
        let (code, (state, text)) = deep(mode, &peer, bench.dir.path()).await;
        assert_eq!((code, state.as_str()), (Some(0), "ok"), "{text}");
        assert!(text.contains("small/shard 0"), "{text}");
        assert_eq!(peer.requests("POST /collections/small/snapshots"), files);
        assert_eq!(peer.requests("GET /collections/small/shards/0/snapshot"), 1);
        assert_eq!(peer.requests("GET /collections/large/shards/0/snapshot"), 0);
        is_clean(&peer, &bench).await;

        // One that ends early is told.
        peer.on_create("small", [Create::Fails("No space left on device")]);
        peer.on_stream("small", [Fetch::CleanEnd(20_000)]);
        let (code, (state, text)) = deep(mode, &peer, bench.dir.path()).await;
        assert_eq!((code, state.as_str()), (Some(9), "fail"), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_of_another_qdrant_is_told_before_a_backup_is_refused_for_it() {
    let peer = peer().await;
    let mut bench = Bench::new(&peer.url).await;
    bench.run().await.unwrap();
    let (code, lines) = check(&[], &peer, bench.dir.path()).await;
    let (state, text) = line(&lines, "source");
    assert_eq!((code, state.as_str()), (Some(0), "ok"), "{lines:?}");
    assert!(
        text.contains(&bench.ctx.qdrant.url()) && text.contains(&PEER_ID.to_string()),
        "{text}"
    );

    let id = PEER_ID + 1;
    let peers = json!({id.to_string(): {"uri": "http://x:6335/"}});
    peer.lock().cluster = Some(json!({"status": "enabled", "peer_id": id, "peers": peers}));
    let error = bench.run().await.unwrap_err();
    let (code, lines) = check(&[], &peer, bench.dir.path()).await;
    assert_eq!(
        (code, line(&lines, "source")),
        (Some(2), ("fail".to_owned(), error.chain())),
        "{lines:?}"
    );

    // One name makes them the same.
    bench.ctx.settings.source = SourceSettings {
        name: Some("production".into()),
        accept_new: true,
        ..SourceSettings::default()
    };
    bench.run().await.unwrap();
    peer.lock().cluster = None;
    let mut named = process::command(&["check", "--json"], &peer.url, bench.dir.path());
    let (code, out, err) = process::finish(named.env("BACKUP_SOURCE_NAME", "production").spawn().unwrap()).await;
    assert_eq!(code, Some(0), "{out}{err}");
    assert!(out.contains("production"), "{out}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rights_are_tried_on_a_collection_that_is_not_broken() {
    let peer = peer().await;
    let bench = Bench::new(&peer.url).await;
    peer.lock().collections.get_mut("large").unwrap().broken = true;
    let (_, lines) = check(&[], &peer, bench.dir.path()).await;
    let (state, text) = line(&lines, "rights");
    assert!(state == "ok" && text.contains("\"small\""), "{lines:?}");
    let broken = lines.iter().find(|line| line["state"] == "fail").unwrap();
    assert!(
        broken["check"] == "plan" && broken["message"].as_str().unwrap().contains("large"),
        "{lines:?}"
    );

    peer.lock().collections.get_mut("small").unwrap().broken = true;
    let (_, lines) = check(&[], &peer, bench.dir.path()).await;
    let (state, text) = line(&lines, "rights");
    assert!(state == "fail" && text.contains("\"large\""), "{lines:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deep_check_is_in_no_run_s_way() {
    let peer = peer().await;
    let bench = Bench::new(&peer.url).await;
    let ctx = &bench.ctx;
    let lease = lease::acquire(ctx.store.clone(), &ctx.clock, "a run", Duration::from_secs(60));
    let lease = lease.await.unwrap();
    let (code, lines) = check(&["--deep"], &peer, bench.dir.path()).await;
    assert_eq!(
        (code, line(&lines, "snapshot").0.as_str()),
        (Some(0), "skip"),
        "{lines:?}"
    );
    assert_eq!(peer.requests("POST /collections/small/snapshots"), 0);
    lease.release().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_check_left_goes_with_the_next_backup() {
    let peer = peer().await;
    let bench = Bench::new(&peer.url).await;
    let (reached, go) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let held = Create::Held {
        reached: reached.clone(),
        go: go.clone(),
    };
    peer.on_create("small", [held]);
    let mut child = process::command(&["check", "--deep"], &peer.url, bench.dir.path())
        .spawn()
        .unwrap();
    reached.acquire().await.unwrap().forget();
    child.kill().await.unwrap();
    go.add_permits(1);
    while peer.snapshots("small").is_empty() {
        tokio::task::yield_now().await;
    }
    // Its lease would run out.
    let lease = bench.ctx.store.head("lock.json").await.unwrap().unwrap();
    bench.ctx.store.delete("lock.json", &lease.version).await.unwrap();
    let report = bench.run().await.unwrap();
    assert_eq!(report.status, BackupOutcome::Complete);
    assert_eq!(peer.snapshots("small"), [""; 0]);
    assert!(bench.keys().await.iter().all(|key| key.starts_with("backups/")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_with_less_room_than_the_last_backup_took_is_told() {
    let peer = peer().await;
    let bench = Bench::new(&peer.url).await;
    let (_, lines) = check(&[], &peer, bench.dir.path()).await;
    let (state, text) = line(&lines, "space");
    assert_eq!(state, "ok", "{text}");
    let without = text;
    let report = bench.run().await.unwrap();
    let (code, lines) = check(&[], &peer, bench.dir.path()).await;
    let (state, text) = line(&lines, "space");
    assert_eq!((code, state.as_str()), (Some(0), "ok"), "{lines:?}");
    assert!(text.contains(&report.id.to_string()) && text != without, "{text}");

    let path = bench.dir.path().join(report.id.manifest());
    let mut manifest: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    manifest["collections"][0]["artifacts"][0]["bytes"] = json!(1_u64 << 60);
    std::fs::write(&path, manifest.to_string()).unwrap();
    let (code, lines) = check(&[], &peer, bench.dir.path()).await;
    assert_eq!((code, line(&lines, "space").0.as_str()), (Some(7), "fail"), "{lines:?}");

    // What is not good tells nothing.
    let record = r#"{"verdict": "damaged", "at": "2026-11-20T01:02:03Z"}"#;
    std::fs::write(path.with_file_name("verified.json"), record).unwrap();
    let (_, lines) = check(&[], &peer, bench.dir.path()).await;
    let (state, text) = line(&lines, "space");
    assert!(state == "ok" && !text.contains(&report.id.to_string()), "{lines:?}");
}
