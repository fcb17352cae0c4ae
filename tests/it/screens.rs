//! The most important screens as a person sees them. What is decided is asserted elsewhere, by codes and fields; here is the one
//! place where words are held. After a wanted change: `INSTA_UPDATE=always cargo test --workspace --test it screens`.

use insta::{assert_snapshot, with_settings};
use qdrant_backup::repository::manifest::Status;
use serde_json::Value;
use tempfile::TempDir;
use testkit::history::{History, backup, backup_with, id, put};
use testkit::peer::{Create, Peer};
use testkit::process::{command, finish};
use testkit::screen::{screen, screen_with};

/// The screen is as it was.
macro_rules! holds {
    ($screen:expr) => {{
        let screen = $screen;
        with_settings!({omit_expression => true}, { assert_snapshot!(screen) });
    }};
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
        assert_eq!(serde_json::from_str::<Value>(&out).unwrap()["status"], status, "{err}");
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
