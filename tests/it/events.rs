//! The lines that alerts and dashboards count, as the shipped binary writes them.

use qdrant_backup::base::clock::Clock;
use qdrant_backup::repository::lease;
use qdrant_backup::repository::names::LOCK;
use qdrant_backup::wire::store::{DirStore, Store};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use testkit::peer::{Create, Peer};
use testkit::process::{command, finish, signal};
use tokio::io::{AsyncBufReadExt, BufReader};

/// Runs a command with logs for Cloud Logging and nothing but errors wanted; its exit code, and the events that it logged.
async fn run(args: &[&str], peer: &Peer, store: &Path, env: &[(&str, &str)]) -> (Option<i32>, Vec<Value>) {
    let mut command = command(args, &peer.url, store);
    command
        .env("LOG_FORMAT", "json")
        .env("LOG_LEVEL", "error")
        .envs(env.iter().copied());
    let (code, _, err) = finish(command.spawn().unwrap()).await;
    let lines = err
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("not JSON: {line}")));
    (code, lines.filter(|line: &Value| line["event"].is_string()).collect())
}

/// The one event, without what differs from run to run.
#[track_caller]
fn one(events: &[Value]) -> Value {
    let [event] = events else {
        panic!("not one event: {events:?}");
    };
    assert!(event["seconds"].is_u64(), "{event}");
    assert_eq!(event["severity"], "INFO");
    let fields = ["event", "outcome", "code", "collections", "bytes", "deleted"];
    let fields = fields.into_iter().filter(|field| event.get(field).is_some());
    fields.map(|field| (field.to_owned(), event[field].clone())).collect()
}

fn folder(store: &Path) -> PathBuf {
    let mut folders: Vec<_> = std::fs::read_dir(store.join("backups"))
        .unwrap()
        .map(|e| e.unwrap().path())
        .collect();
    folders.sort();
    folders.pop().unwrap()
}

#[tokio::test]
async fn a_backup_ends_with_one_line_that_says_how() {
    let peer = Peer::start(&[("docs", 1000), ("logs", 10)]).await;
    let dir = tempfile::tempdir().unwrap();
    let (code, events) = run(&["backup"], &peer, dir.path(), &[]).await;
    assert_eq!(code, Some(0));
    assert_eq!(
        one(&events),
        json!({"event": "backup_finished", "outcome": "good", "collections": 2, "bytes": 1010})
    );
    assert_eq!(
        events[0]["backup"],
        folder(dir.path()).file_name().unwrap().to_str().unwrap()
    );

    peer.on_create("logs", [Create::Forbidden]);
    let (code, events) = run(&["backup"], &peer, dir.path(), &[]).await;
    assert_eq!(code, Some(3));
    assert_eq!(
        one(&events),
        json!({"event": "backup_finished", "outcome": "partial", "code": "backup_partial", "collections": 1, "bytes": 1000})
    );

    peer.on_create("logs", [Create::Forbidden]);
    let (code, events) = run(&["backup", "logs"], &peer, dir.path(), &[]).await;
    assert_eq!(code, Some(4));
    assert_eq!(
        one(&events),
        json!({"event": "backup_finished", "outcome": "failed", "code": "backup_failed", "collections": 0, "bytes": 0})
    );
    assert!(events[0]["backup"].is_string());

    peer.lock().api_key = Some("k".into());
    let (code, events) = run(&["backup"], &peer, dir.path(), &[]).await;
    assert_eq!(code, Some(6));
    assert_eq!(
        one(&events),
        json!({"event": "backup_finished", "outcome": "failed", "code": "qdrant_unauthorized", "collections": 0, "bytes": 0})
    );
    assert_eq!(events[0].get("backup"), None, "it never had an id");
}

#[tokio::test]
async fn a_backup_that_a_drill_has_to_prove_first_does_not_end_as_a_good_one() {
    let peer = crate::stream_mode::peer().await;
    peer.with("a", |a| a.optimizing = usize::MAX);
    let env = [("SNAPSHOT_MODE", "stream"), ("BACKUP_SETTLE_TIMEOUT_SECS", "0")];
    let dir = tempfile::tempdir().unwrap();
    let (code, events) = run(&["backup"], &peer, dir.path(), &env).await;
    assert_eq!(
        (code, &one(&events)["outcome"]),
        (Some(0), &json!("unproven")),
        "{events:?}"
    );
    let mut of_a_job = Vec::new();
    for index in ["0", "1"] {
        let job = [
            ("CLOUD_RUN_EXECUTION", "one"),
            ("CLOUD_RUN_TASK_COUNT", "2"),
            ("CLOUD_RUN_TASK_INDEX", index),
        ];
        of_a_job = run(&["backup"], &peer, dir.path(), &[&env[..], &job[..]].concat())
            .await
            .1;
    }
    assert_eq!(one(&of_a_job)["outcome"], "unproven");
}

#[tokio::test]
async fn the_tasks_of_a_job_have_one_line_together_from_the_one_that_ends_the_backup() {
    let peer = Peer::start(&[("docs", 1000), ("logs", 10)]).await;
    let dir = tempfile::tempdir().unwrap();
    let task = async |execution, index, retries| {
        let job = [
            ("CLOUD_RUN_EXECUTION", execution),
            ("CLOUD_RUN_TASK_COUNT", "2"),
            ("CLOUD_RUN_TASK_INDEX", index),
            ("BACKUP_JOB_MAX_RETRIES", retries),
        ];
        run(&["backup"], &peer, dir.path(), &job).await
    };
    assert_eq!(task("one", "0", "0").await, (Some(0), vec![]));
    let (code, events) = task("one", "1", "0").await;
    assert_eq!(code, Some(0));
    assert_eq!(
        one(&events),
        json!({"event": "backup_finished", "outcome": "good", "collections": 2, "bytes": 1010})
    );
    assert_eq!(
        task("one", "1", "0").await,
        (Some(0), vec![]),
        "tried again, it ends nothing"
    );

    // No error before the last attempt is the end of the backup.
    peer.on_create("docs", [Create::Forbidden]);
    assert_eq!(task("two", "0", "1").await, (Some(4), vec![]));
    let other = Arc::new(DirStore::open(dir.path()).await.unwrap());
    other
        .delete(LOCK, &other.head(LOCK).await.unwrap().unwrap().version)
        .await
        .unwrap();
    let lease = lease::acquire(other, &Clock::system(), "other", Duration::from_secs(60))
        .await
        .unwrap();
    assert_eq!(
        task("three", "0", "0").await,
        (Some(5), vec![]),
        "somebody else's run is no end of ours"
    );
    lease.release().await.unwrap();
}

#[tokio::test]
async fn a_run_that_another_one_keeps_away_is_no_failed_one() {
    let peer = Peer::start(&[("docs", 1000)]).await;
    let dir = tempfile::tempdir().unwrap();
    run(&["backup"], &peer, dir.path(), &[]).await;
    let store: Arc<dyn Store> = Arc::new(DirStore::open(dir.path()).await.unwrap());
    let lease = lease::acquire(store, &Clock::system(), "another", Duration::from_secs(60))
        .await
        .unwrap();
    for args in [
        &["backup"][..],
        &["restore", "latest", "--into", "{}-copy"],
        &["drill", "latest", "--same-qdrant"],
    ] {
        let (code, events) = run(args, &peer, dir.path(), &[]).await;
        assert_eq!((code, events), (Some(5), vec![]), "{args:?}");
    }
    lease.release().await.unwrap();
}

#[tokio::test]
async fn what_was_asked_for_wrongly_is_no_failed_backup_and_no_error_of_the_log() {
    let peer = Peer::start(&[("docs", 1000), ("gone", 10)]).await;
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(run(&["backup"], &peer, dir.path(), &[]).await.0, Some(0));
    peer.lock().collections.remove("gone");
    for (args, exit, code, is_failure) in [
        // A schedule that names a collection has to be noticed when that is gone.
        (&["backup", "gone"][..], 8, "collection_not_found", true),
        // It never was.
        (&["backup", "nope"], 8, "collection_not_found", false),
        (&["backup", "--include", "x["], 2, "bad_request", false),
    ] {
        let mut command = command(args, &peer.url, dir.path());
        let (status, _, err) = finish(command.env("LOG_FORMAT", "json").spawn().unwrap()).await;
        assert_eq!(status, Some(exit), "{err}");
        // What is told at the end is a line for people where the log is one for programs.
        let lines: Vec<Value> = err.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        assert!(lines.iter().any(|line| line["code"] == code), "{err}");
        let finished = lines.iter().find(|line| line["event"] == "backup_finished");
        assert_eq!(
            finished.map(|line| &line["code"]),
            is_failure.then_some(&json!(code)),
            "{err}"
        );
        assert_eq!(
            lines.iter().any(|line| line["severity"] == "ERROR"),
            is_failure,
            "{err}"
        );
    }

    let mut serve = command(&["serve"], &peer.url, dir.path());
    serve.env("LISTEN", "127.0.0.1:0").env("LOG_FORMAT", "json");
    let mut child = serve.spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let url = loop {
        let line: Value = serde_json::from_str(&lines.next_line().await.unwrap().unwrap()).unwrap();
        if let Some(url) = line["message"].as_str().unwrap().strip_prefix("listening on ") {
            break url.to_owned();
        }
    };
    let client = reqwest::Client::new();
    let post = client.post(format!("{url}/backup"));
    let answer = post.body(r#"{"include": ["x["]}"#).send().await.unwrap();
    assert_eq!(answer.status(), 400);
    signal(&child, rustix::process::Signal::TERM);
    let mut log = Vec::new();
    while let Some(line) = lines.next_line().await.unwrap() {
        log.push(serde_json::from_str::<Value>(&line).unwrap());
    }
    assert!(log.iter().any(|line| line["code"] == "bad_request"), "{log:?}");
    let is_alarm = |line: &Value| line["event"] == "backup_finished" || line["severity"] == "ERROR";
    assert!(!log.iter().any(is_alarm), "{log:?}");
}

#[tokio::test]
async fn a_verification_ends_with_one_line_for_each_backup() {
    let peer = Peer::start(&[("docs", 1000)]).await;
    let dir = tempfile::tempdir().unwrap();
    run(&["backup"], &peer, dir.path(), &[]).await;
    // What the peer calls a snapshot is no tar.
    let (code, events) = run(&["verify", "latest"], &peer, dir.path(), &[]).await;
    assert_eq!(code, Some(9));
    assert_eq!(
        one(&events),
        json!({"event": "verify_finished", "outcome": "damaged", "code": "backup_damaged", "bytes": 1000})
    );
    assert_eq!(
        events[0]["backup"],
        folder(dir.path()).file_name().unwrap().to_str().unwrap()
    );

    let id = folder(dir.path()).file_name().unwrap().to_str().unwrap().to_owned();
    let manifest = folder(dir.path()).join("manifest.json");
    let text = std::fs::read_to_string(&manifest).unwrap();
    std::fs::write(&manifest, text.replacen("\"format\": 1", "\"format\": 9", 1)).unwrap();
    let (_, events) = run(&["verify", &id], &peer, dir.path(), &[]).await;
    assert_eq!(
        one(&events)["outcome"],
        "failed",
        "not understood says nothing about it"
    );
    std::fs::write(&manifest, "garbage").unwrap();
    let (_, events) = run(&["verify", &id], &peer, dir.path(), &[]).await;
    assert_eq!(one(&events)["outcome"], "damaged");
}

#[tokio::test]
async fn an_intact_backup_is_verified_as_good() {
    let lab = testkit::lab::Lab::in_directory().await;
    let peer = Peer::start(&[]).await;
    let store = lab.path("");
    let (code, events) = run(&["verify", "latest"], &peer, &store, &[]).await;
    assert_eq!(code, Some(0));
    let event = one(&events);
    assert_eq!(
        (&event["event"], &event["outcome"]),
        (&json!("verify_finished"), &json!("good"))
    );
    assert!(
        event["bytes"].as_u64().unwrap() > 0 && event.get("code").is_none(),
        "{event}"
    );
}

#[tokio::test]
async fn restores_and_drills_end_with_one_line() {
    let peer = Peer::start(&[("docs", 1000)]).await;
    let dir = tempfile::tempdir().unwrap();
    run(&["backup"], &peer, dir.path(), &[]).await;
    let (code, events) = run(&["restore", "latest", "--into", "{}-copy"], &peer, dir.path(), &[]).await;
    assert_eq!(code, Some(0), "{events:?}");
    assert_eq!(
        one(&events),
        json!({"event": "restore_finished", "outcome": "good", "collections": 1, "bytes": 1000})
    );
    let (code, events) = run(&["restore", "latest"], &peer, dir.path(), &[]).await;
    assert_eq!(
        (code, events),
        (Some(11), vec![]),
        "what is refused by its plan ends nothing"
    );
    let (code, events) = run(&["restore", "latest", "--json"], &peer, dir.path(), &[]).await;
    assert_eq!((code, events), (Some(11), vec![]));

    let (code, events) = run(&["drill", "latest", "--same-qdrant"], &peer, dir.path(), &[]).await;
    assert_eq!(code, Some(0), "{events:?}");
    assert_eq!(
        one(&events),
        json!({"event": "drill_finished", "outcome": "passed", "collections": 1, "bytes": 1000})
    );
    let snapshot = folder(dir.path()).join("docs/collection.snapshot");
    let mut bytes = std::fs::read(&snapshot).unwrap();
    bytes[500] ^= 1;
    std::fs::write(&snapshot, bytes).unwrap();
    let id = folder(dir.path()).file_name().unwrap().to_str().unwrap().to_owned();
    let (_, events) = run(&["drill", &id, "--same-qdrant"], &peer, dir.path(), &[]).await;
    let event = one(&events);
    assert_eq!(
        (&event["event"], &event["outcome"]),
        (&json!("drill_finished"), &json!("failed"))
    );
    assert!(event["code"].is_string());
}

#[tokio::test]
async fn pruning_ends_with_one_line_also_after_a_backup() {
    let peer = Peer::start(&[("docs", 1000)]).await;
    let dir = tempfile::tempdir().unwrap();
    let policy = [("RETAIN_LAST", "1"), ("RETAIN_MIN_AGE_HOURS", "0")];
    for _ in 0..3 {
        run(&["backup"], &peer, dir.path(), &[]).await;
    }
    let (_, events) = run(&["prune"], &peer, dir.path(), &policy).await;
    assert_eq!(events, Vec::<Value>::new(), "a plan ends nothing");
    // Backups of one second have ids of different ones: some may still be too young at first.
    let (mut deleted, mut bytes) = (0, 0);
    while deleted < 2 {
        let (code, events) = run(&["prune", "--yes"], &peer, dir.path(), &policy).await;
        assert_eq!(code, Some(0));
        let event = one(&events);
        assert_eq!(
            (&event["event"], &event["outcome"]),
            (&json!("prune_finished"), &json!("good"))
        );
        deleted += event["deleted"].as_u64().unwrap();
        bytes += event["bytes"].as_u64().unwrap();
    }
    assert!(deleted == 2 && bytes > 2000, "{deleted} {bytes}");

    let after = [&policy[..], &[("PRUNE_AFTER_BACKUP", "true")]].concat();
    let (code, events) = run(&["backup"], &peer, dir.path(), &after).await;
    assert_eq!(code, Some(0));
    let told: Vec<_> = events
        .iter()
        .map(|e| (e["event"].as_str().unwrap(), e["outcome"].as_str().unwrap()))
        .collect();
    assert_eq!(told, [("backup_finished", "good"), ("prune_finished", "good")]);
}

#[tokio::test]
async fn one_field_finds_all_lines_of_a_backup() {
    let peer = Peer::start(&[("docs", 1000), ("logs", 10)]).await;
    peer.on_create("docs", [Create::WrongChecksum]);
    peer.on_create("logs", [Create::Forbidden]);
    let dir = tempfile::tempdir().unwrap();
    let mut lines = 0;
    for args in [
        &["backup"][..],
        &["verify", "2"],
        &["restore", "2", "docs", "--overwrite", "--yes"],
    ] {
        let id = (args.len() > 1).then(|| folder(dir.path()).file_name().unwrap().to_str().unwrap().to_owned());
        let args: Vec<_> = args
            .iter()
            .map(|arg| id.as_deref().filter(|_| *arg == "2").unwrap_or(arg))
            .collect();
        let mut command = command(&args, &peer.url, dir.path());
        let child = command
            .env("LOG_FORMAT", "json")
            .env("LOG_LEVEL", "info")
            .spawn()
            .unwrap();
        let (_, _, err) = finish(child).await;
        for line in err.lines() {
            let line: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("not JSON: {line}"));
            assert!(line.get("id").is_none(), "{line}");
            if line.get("collection").is_some() || line.get("event").is_some() {
                lines += 1;
                assert!(line["backup"].is_string(), "{line}");
            }
        }
    }
    assert!(lines > 6, "{lines}");
}
