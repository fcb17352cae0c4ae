//! The most important screens as a person sees them, and what is said of each fault. What is decided is asserted elsewhere, by
//! codes and fields; here is the one place where words are held. After a wanted change, with the tests that fail:
//! `INSTA_UPDATE=always cargo test --workspace --lib --test it`.

use insta::{assert_snapshot, with_settings};
use qdrant_backup::repository::manifest::Status;
use serde_json::Value;
use tempfile::TempDir;
use testkit::history::{History, backup, backup_with, id, put};
use testkit::peer::{Create, Peer};
use testkit::process::{command, finish};
use testkit::screen::{redacted, screen, screen_with};

/// The screen is as it was.
macro_rules! holds {
    ($screen:expr) => {{
        let screen = $screen;
        with_settings!({omit_expression => true}, { assert_snapshot!(screen) });
    }};
}

/// A table that another test made is as it was.
#[track_caller]
pub fn holds(name: &str, table: &str) {
    with_settings!({omit_expression => true}, { assert_snapshot!(name, redacted(table)) });
}

const NOBODY: &str = "http://127.0.0.1:1";
const OLD: &str = "2020-01-01T00-00-00Z";
const NEW: &str = "2020-01-03T00-00-00Z";

/// A Qdrant of which a good backup and a partial one are in a directory.
async fn saved() -> (Peer, TempDir) {
    let peer = Peer::start(&[("articles", 3 << 20), ("logs", 1000)]).await;
    peer.lock().aliases.push(("live".into(), "articles".into()));
    let dir = tempfile::tempdir().unwrap();
    for sharded in [false, true] {
        peer.lock().collections.get_mut("logs").unwrap().custom_sharding = sharded;
        let child = command(&["backup", "--json"], &peer.url, dir.path()).spawn().unwrap();
        let (_, out, err) = finish(child).await;
        let status = if sharded { "partial" } else { "complete" };
        let told = serde_json::from_str::<Value>(&out).unwrap();
        let report = told.get("report").unwrap_or(&told);
        assert_eq!(report["status"], status, "{err}");
    }
    peer.lock().collections.get_mut("logs").unwrap().custom_sharding = false;
    (peer, dir)
}

/// An old pinned backup that is partial, one that may go, and the newest.
async fn history() -> History {
    let history = History::in_directory().await;
    let store = &*history.store;
    backup_with(store, OLD, |m| m.status = Status::Partial).await;
    put(store, &id(OLD).pinned(), r#"{"by":"me","note":"the audit"}"#).await;
    backup(store, "2020-01-02T00-00-00Z").await;
    backup(store, NEW).await;
    history
}

#[tokio::test]
async fn help() {
    let dir = tempfile::tempdir().unwrap();
    holds!(screen(&["--help"], NOBODY, dir.path()).await);
}

#[tokio::test]
async fn list() {
    let (peer, dir) = saved().await;
    holds!(screen(&["list"], &peer.url, dir.path()).await);
}

#[tokio::test]
async fn show_of_a_partial_backup() {
    let (peer, dir) = saved().await;
    let list = std::fs::read_dir(dir.path().join("backups")).unwrap();
    let newest = list.map(|folder| folder.unwrap().file_name()).max().unwrap();
    holds!(screen(&["show", newest.to_str().unwrap()], &peer.url, dir.path()).await);
}

#[tokio::test]
async fn plan_of_a_restore() {
    let (peer, dir) = saved().await;
    let args = ["restore", "latest", "--into", "{}-copy", "--dry-run"];
    holds!(screen(&args, &peer.url, dir.path()).await);
}

#[tokio::test]
async fn refused_restore() {
    let (peer, dir) = saved().await;
    holds!(screen(&["restore", "latest"], &peer.url, dir.path()).await);
}

#[tokio::test]
async fn plan_of_pruning() {
    let history = history().await;
    holds!(screen_with(&["prune"], NOBODY, history.dir(), &[("RETAIN_LAST", "1")]).await);
}

#[tokio::test]
async fn check_finds_nothing_wrong() {
    let (peer, dir) = saved().await;
    holds!(screen(&["check"], &peer.url, dir.path()).await);
}

#[tokio::test]
async fn check_of_a_wrong_key() {
    let peer = Peer::start(&[("articles", 1000)]).await;
    peer.lock().api_key = Some("another".into());
    let dir = tempfile::tempdir().unwrap();
    holds!(screen(&["check"], &peer.url, dir.path()).await);
}

#[tokio::test]
async fn failed_backup() {
    let peer = Peer::start(&[("articles", 1000), ("logs", 1000)]).await;
    for name in ["articles", "logs"] {
        peer.on_create(name, [Create::Forbidden]);
    }
    let dir = tempfile::tempdir().unwrap();
    // One after the other, so that it is always the same one that fails; how far it came meanwhile is a matter of time.
    let env = [("BACKUP_CONCURRENCY", "1"), ("LOG_LEVEL", "warn")];
    holds!(screen_with(&["backup"], &peer.url, dir.path(), &env).await);
}

#[tokio::test]
async fn finished_backup() {
    let peer = Peer::start(&[("articles", 3 << 20), ("logs", 1000)]).await;
    let dir = tempfile::tempdir().unwrap();
    let env = [("BACKUP_CONCURRENCY", "1"), ("LOG_LEVEL", "warn")];
    holds!(screen_with(&["backup"], &peer.url, dir.path(), &env).await);
}

#[tokio::test]
async fn status_of_what_is_not_protected() {
    let (peer, dir) = saved().await;
    // Of an older version: it does not tell of which Qdrant it is, so not whether that had the collection.
    for folder in std::fs::read_dir(dir.path().join("backups")).unwrap() {
        let path = folder.unwrap().path().join("manifest.json");
        let mut manifest: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        manifest["qdrant"].as_object_mut().unwrap().remove("source");
        std::fs::write(path, manifest.to_string()).unwrap();
    }
    peer.lock().collections.entry("late".into()).or_default();
    holds!(screen(&["status"], &peer.url, dir.path()).await);
}

#[tokio::test]
async fn status_of_a_new_collection() {
    let (peer, dir) = saved().await;
    peer.lock().collections.entry("late".into()).or_default();
    holds!(screen(&["status"], &peer.url, dir.path()).await);
}

#[tokio::test]
async fn what_cannot_be_restored_wherever_it_is_shown() {
    let peer = Peer::start(&[("articles", 1000), ("logs", 1000)]).await;
    let dir = tempfile::tempdir().unwrap();
    let child = command(&["backup"], &peer.url, dir.path()).spawn().unwrap();
    assert_eq!(finish(child).await.0, Some(0));
    // As an older version would have saved it.
    let folder = std::fs::read_dir(dir.path().join("backups"))
        .unwrap()
        .next()
        .unwrap()
        .unwrap();
    let (id, path) = (folder.file_name(), folder.path().join("manifest.json"));
    let mut manifest: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    manifest["collections"][1]["config"]["params"]["sharding_method"] = "custom".into();
    std::fs::write(&path, manifest.to_string()).unwrap();
    let mut screens = Vec::new();
    let id = id.to_str().unwrap();
    for args in [
        &["list"][..],
        &["show", id],
        &["restore", "latest"],
        &["restore", id, "--overwrite"],
    ] {
        screens.push(screen(args, &peer.url, dir.path()).await);
    }
    holds!(screens.join("\n"));
}

/// The scripted Qdrant's snapshots are none.
#[tokio::test]
async fn verification_that_finds_damage() {
    let (peer, dir) = saved().await;
    // Which object is logged first is a matter of time.
    holds!(screen_with(&["verify", "latest"], &peer.url, dir.path(), &[("RUST_LOG", "off")]).await);
}

#[tokio::test]
async fn passed_drill() {
    let (peer, dir) = saved().await;
    let args = ["drill", "latest", "--same-qdrant"];
    holds!(screen_with(&args, &peer.url, dir.path(), &[("LOG_LEVEL", "warn")]).await);
}

#[tokio::test]
async fn finished_restore() {
    let (peer, dir) = saved().await;
    let args = ["restore", "latest", "--into", "{}-copy"];
    holds!(screen_with(&args, &peer.url, dir.path(), &[("LOG_LEVEL", "warn")]).await);
}

#[tokio::test]
async fn finished_pruning() {
    let history = history().await;
    let env = [("RETAIN_LAST", "1"), ("LOG_LEVEL", "warn")];
    holds!(screen_with(&["prune", "--yes"], NOBODY, history.dir(), &env).await);
}

#[tokio::test]
async fn a_configuration_with_many_faults() {
    let dir = tempfile::tempdir().unwrap();
    let env = [
        ("QDRANT_URL", "q:6333"),
        ("BACKUP_STORE", "s3://bucket"),
        ("BACKUP_CONCURRENCY", "0"),
        ("BACKUP_MAX_AGE", "26"),
        ("RETAIN_HOURY", "48"),
    ];
    holds!(screen_with(&["backup"], NOBODY, dir.path(), &env).await);
}

#[tokio::test]
async fn deep_check_beside_an_intent_that_nobody_can_read() {
    let (peer, dir) = saved().await;
    let folder = dir.path().join("intents/2026-11-01T00-00-00Z");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("c-1.json"), b"{").unwrap();
    holds!(screen(&["check", "--deep"], &peer.url, dir.path()).await);
}
