//! The shipped binary as a process: killed and stopped at several moments, and what its exit codes say.

use qdrant_backup::repository::catalog;
use qdrant_backup::repository::manifest;
use qdrant_backup::repository::manifest::Status;
use qdrant_backup::wire::store::{self, GcsOptions};
use rustix::process::Signal;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;
use testkit::bench::Bench;
use testkit::peer::{Create, Fetch, Peer};
use testkit::process::{Served, binary, command, finish, signal};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::sync::Semaphore;
use tokio::time::timeout;

const LONG: usize = 3 << 20;

/// A moment at which the run is held: the script that holds it, and how to let the peer go on.
struct Moment {
    create: Vec<Create>,
    fetch: Vec<Fetch>,
    reached: Arc<Semaphore>,
    go: Arc<Semaphore>,
}

fn moments() -> [(&'static str, Moment); 3] {
    let gate = || (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let created = {
        let (reached, go) = gate();
        let held = Create::Held {
            reached: reached.clone(),
            go: go.clone(),
        };
        Moment {
            create: vec![held],
            fetch: vec![],
            reached,
            go,
        }
    };
    let fetched = |after| {
        let (reached, go) = gate();
        let held = Fetch::Held {
            after,
            reached: reached.clone(),
            go: go.clone(),
        };
        Moment {
            create: vec![],
            fetch: vec![held],
            reached,
            go,
        }
    };
    [
        ("while Qdrant makes the snapshot", created),
        ("before the first byte", fetched(0)),
        ("before the last chunk", fetched(LONG - 1)),
    ]
}

fn change_lease(store: &Path, change: impl FnOnce(&mut serde_json::Value)) {
    let path = store.join("lock.json");
    let mut lease = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    change(&mut lease);
    std::fs::write(&path, lease.to_string()).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_any_moment_it_leaves_no_manifest_and_the_next_run_cleans_up() {
    for (when, moment) in moments() {
        let peer = Peer::start(&[("c", LONG)]).await;
        peer.on_create("c", moment.create);
        peer.on_fetch("c", moment.fetch);
        let bench = Bench::new(&peer.url).await;
        let mut child = command(&["backup"], &peer.url, bench.dir.path()).spawn().unwrap();
        moment.reached.acquire().await.unwrap().forget();
        child.start_kill().unwrap(); // SIGKILL
        child.wait().await.unwrap();
        moment.go.add_permits(1);
        while peer.snapshots("c").is_empty() {
            tokio::task::yield_now().await; // Qdrant goes on making it
        }
        assert!(
            catalog::list(&*bench.ctx.store, 10, time::OffsetDateTime::now_utc())
                .await
                .unwrap()
                .is_empty(),
            "{when}: there is a backup"
        );
        assert!(
            !bench.keys().await.iter().any(|k| k.contains(".snapshot")),
            "{when}: something was published"
        );

        // As that of another machine, of which nobody knows here whether it is dead.
        change_lease(bench.dir.path(), |lease| lease["process"]["host"] = "another".into());
        let child = command(&["backup"], &peer.url, bench.dir.path()).spawn().unwrap();
        let (code, _, err) = finish(child).await;
        assert_eq!(code, Some(5), "{when}: the dead run's lease still holds: {err}");
        change_lease(bench.dir.path(), |lease| {
            lease["expires_at"] = "2026-01-01T00:00:00Z".into()
        });
        let child = command(&["backup"], &peer.url, bench.dir.path()).spawn().unwrap();
        let (code, out, err) = finish(child).await;
        assert_eq!(code, Some(0), "{when}: {out}{err}");
        assert_eq!(
            peer.snapshots("c"),
            [""; 0],
            "{when}: the dead run's snapshot is still on Qdrant"
        );
        let list = catalog::list(&*bench.ctx.store, 10, time::OffsetDateTime::now_utc())
            .await
            .unwrap();
        assert_eq!((list.len(), list[0].status), (1, Some(Status::Complete)), "{when}");
        let manifest = manifest::read(&*bench.ctx.store, &list[0].id).await.unwrap();
        assert!(
            bench.artifact(&manifest.collections[0].artifacts[0]).await == peer.body_of("c"),
            "{when}"
        );
        let rest: Vec<_> = bench
            .keys()
            .await
            .into_iter()
            .filter(|k| !k.starts_with("backups/"))
            .collect();
        assert_eq!(rest, [""; 0], "{when}: lease or intents are left");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn told_to_stop_at_any_moment_it_cleans_up_and_gives_the_lease_back() {
    for (when, moment) in moments() {
        let peer = Peer::start(&[("c", LONG)]).await;
        let creating = !moment.create.is_empty();
        peer.on_create("c", moment.create);
        peer.on_fetch("c", moment.fetch);
        let bench = Bench::new(&peer.url).await;
        let child = command(&["backup"], &peer.url, bench.dir.path()).spawn().unwrap();
        moment.reached.acquire().await.unwrap().forget();
        signal(&child, Signal::TERM);
        let (code, _, err) = finish(child).await;
        assert_eq!(code, Some(10), "{when}: {err}");
        let keys = bench.keys().await;
        assert!(keys.iter().all(|k| k.starts_with("intents/")), "{when}: {keys:?}");
        assert_eq!(
            keys.is_empty(),
            !creating,
            "{when}: an intent stays exactly when a snapshot may still appear"
        );
        assert_eq!(peer.snapshots("c"), [""; 0], "{when}");
        // The lease is free: the next run begins at once.
        moment.go.add_permits(1);
        while creating && peer.snapshots("c").is_empty() {
            tokio::task::yield_now().await;
        }
        let child = command(&["backup", "--json"], &peer.url, bench.dir.path())
            .spawn()
            .unwrap();
        let (code, out, err) = finish(child).await;
        assert_eq!(code, Some(0), "{when}: {err}");
        let report: serde_json::Value = serde_json::from_str(&out).unwrap();
        assert_eq!(report["status"], "complete", "{when}");
        assert_eq!(peer.snapshots("c"), [""; 0], "{when}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_exit_code_says_what_happened() {
    let peer = Peer::start(&[("a", 1000), ("b", 1000)]).await;
    let dir = tempfile::tempdir().unwrap();
    let run = async |args: &[&str], url: &str, store: &Path| finish(command(args, url, store).spawn().unwrap()).await;

    let (code, out, err) = run(&["backup", "--json"], &peer.url, dir.path()).await;
    assert_eq!(code, Some(0), "{out}{err}");
    let report: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(report["status"], "complete", "{report}");
    assert_eq!(run(&["list", "--json"], &peer.url, dir.path()).await.0, Some(0));
    assert_eq!(run(&["show", "latest"], &peer.url, dir.path()).await.0, Some(0));
    assert_eq!(run(&["check"], &peer.url, dir.path()).await.0, Some(0));

    peer.on_create("b", [Create::Forbidden]);
    assert_eq!(run(&["backup"], &peer.url, dir.path()).await.0, Some(3), "partial");
    peer.on_create("a", [Create::Forbidden]);
    assert_eq!(run(&["backup", "a"], &peer.url, dir.path()).await.0, Some(4), "failed");
    let (code, _, err) = run(&["backup", "nope"], &peer.url, dir.path()).await;
    assert_eq!(code, Some(8), "unknown collection");
    assert!(err.contains("nope"), "{err}");
    assert_eq!(
        run(&["show", "2020-01-01T00-00-00Z"], &peer.url, dir.path()).await.0,
        Some(8),
        "unknown backup"
    );
    assert_eq!(
        run(&["show", "nonsense"], &peer.url, dir.path()).await.0,
        Some(2),
        "not an id"
    );
    assert_eq!(run(&["nonsense"], &peer.url, dir.path()).await.0, Some(2), "usage");
    let nowhere = dir.path().join("missing");
    let (code, _, err) = run(&["backup"], &peer.url, &nowhere).await;
    assert_eq!(code, Some(7), "{err}");
    assert!(err.contains("missing"), "{err}");
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_while_the_manifest_is_committed_there_is_none_or_a_whole_one() {
    for (fault, backups) in [
        // The service has all bytes of the manifest, but its client is gone before it commits.
        (gcs_emulator::Fault::SlowCommit, 0),
        // It has committed, and nobody was told.
        (gcs_emulator::Fault::WithholdAnswer, 1),
    ] {
        killed_at_the_manifest(fault, backups).await;
    }
}

async fn killed_at_the_manifest(fault: gcs_emulator::Fault, backups: usize) {
    let peer = Peer::start(&[("c", LONG)]).await;
    let gcs = gcs_emulator::Emulator::start().await.unwrap();
    gcs.create_bucket("b");
    let commit = gcs.fault("*manifest.json", 1, fault);
    let mut child = Command::new(binary())
        .arg("backup")
        .env_clear()
        .env("QDRANT_URL", &peer.url)
        .env("BACKUP_STORE", "gs://b/p")
        .env("STORAGE_EMULATOR_HOST", gcs.url())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    commit.hit().await;
    child.start_kill().unwrap(); // SIGKILL
    child.wait().await.unwrap();
    commit.release();
    let options = GcsOptions {
        endpoint: Some(gcs.url().to_owned()),
        ..GcsOptions::default()
    };
    let store = store::open("gs://b/p", options).await.unwrap();
    let list = catalog::list(&*store, 10, time::OffsetDateTime::now_utc())
        .await
        .unwrap();
    assert_eq!(list.len(), backups, "{fault:?}");
    for backup in list {
        let manifest = manifest::read(&*store, &backup.id).await.unwrap();
        let artifact = &manifest.collections[0].artifacts[0];
        let bytes = manifest::read_small(&*store, &artifact.key, u64::MAX)
            .await
            .unwrap()
            .unwrap();
        assert_eq!(qdrant_backup::base::hash::sha256_hex(&bytes), artifact.sha256);
    }
    assert_eq!(peer.snapshots("c"), [""; 0], "deleted on Qdrant before the commit");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_never_ends_does_not_keep_the_service_from_stopping() {
    for half in [
        "GET /health HTTP/1.1\r\nHost: x\r\n",
        "POST /backup HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 10\r\n\r\n{",
    ] {
        let peer = Peer::start(&[("c", 1000)]).await;
        let dir = tempfile::tempdir().unwrap();
        let served = Served::start(&mut command(&["serve"], &peer.url, dir.path())).await;
        let mut client = TcpStream::connect(served.url.strip_prefix("http://").unwrap())
            .await
            .unwrap();
        client.write_all(half.as_bytes()).await.unwrap();
        // Connections are taken in their order: the half one is open when a later one has its answer.
        assert_eq!(
            reqwest::get(format!("{}/health", served.url)).await.unwrap().status(),
            200
        );
        // Not 10: no run was cut off.
        let (code, log) = served.end().await;
        assert_eq!(code, Some(0), "{half:?}: {log:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_service_told_to_stop_ends_its_backup_cleanly() {
    let [_, (_, moment), _] = moments();
    let peer = Peer::start(&[("c", LONG)]).await;
    peer.on_fetch("c", moment.fetch);
    let bench = Bench::new(&peer.url).await;
    let served = Served::start(&mut command(&["serve"], &peer.url, bench.dir.path())).await;
    let backup = format!("{}/backup", served.url);
    let post = tokio::spawn(reqwest::Client::new().post(backup).body("{}").send());
    moment.reached.acquire().await.unwrap().forget();
    let (code, _) = served.end().await;
    assert_eq!(code, Some(0), "told to stop, it did");
    let answer = post.await.unwrap().unwrap();
    assert_eq!(answer.status(), 503);
    let answer: serde_json::Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
    assert_eq!(answer["error"]["code"], "cancelled", "{answer}");
    let mut left = bench.keys().await;
    left.retain(|key| key != "since.json");
    assert_eq!(left, [""; 0], "lease, intent or half an object is left");
    assert_eq!(peer.snapshots("c"), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_nobody_reads_does_not_keep_the_service_from_stopping() {
    let peer = Peer::start(&[]).await;
    let dir = tempfile::tempdir().unwrap();
    let mut served = Served::start(&mut command(&["serve"], &peer.url, dir.path())).await;
    // Until the pipe is full, and every thread waits for it that has something to say.
    let http = reqwest::Client::builder()
        .timeout(Duration::from_secs(1))
        .build()
        .unwrap();
    let path = format!("{}/{}", served.url, "x".repeat(500));
    while http.get(&path).send().await.is_ok() {}
    signal(&served.child, Signal::TERM);
    let ended = timeout(Duration::from_secs(30), served.child.wait()).await;
    let code = ended.expect("it waits for whoever reads its log").unwrap().code();
    assert_eq!(code, Some(10));
}
