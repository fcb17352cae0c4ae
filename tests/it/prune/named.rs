//! `delete`: one backup goes, whatever the policy says, and what no deletion may take stays.

use qdrant_backup::base::clock::Clock;
use qdrant_backup::repository::lease;
use qdrant_backup::repository::manifest::Status;
use serde_json::Value;
use std::time::Duration;
use testkit::history::{History, backup, backup_with, id, put};
use testkit::process::{End, command, finish};

const NOBODY: &str = "http://127.0.0.1:1";
const OLD: &str = "2020-01-01T00-00-00Z";
const PARTIAL: &str = "2020-01-02T00-00-00Z";
const NEW: &str = "2020-01-03T00-00-00Z";

async fn run(history: &History, args: &[&str]) -> End {
    finish(command(args, NOBODY, history.dir()).spawn().unwrap()).await
}

async fn history() -> History {
    let history = History::in_directory().await;
    backup(&*history.store, OLD).await;
    backup_with(&*history.store, PARTIAL, |manifest| manifest.status = Status::Partial).await;
    backup(&*history.store, NEW).await;
    history
}

#[tokio::test]
async fn it_shows_what_would_go_and_deletes_it_only_when_told() {
    let history = history().await;
    for name in [OLD, PARTIAL] {
        let (code, out, err) = run(&history, &["delete", name]).await;
        assert_eq!(code, Some(0), "{err}");
        let command = format!("qdrant-backup delete {name} --yes");
        assert!(out.contains(&command) && out.contains("3 objects"), "{out}");
        assert!(history.whole().await.contains(&name.to_owned()));
        // Pasted, it does what it says. No rule of retention is set, and none is asked for.
        let args: Vec<_> = command.split(' ').skip(1).collect();
        let (code, out, err) = run(&history, &args).await;
        assert_eq!(code, Some(0), "{out}{err}");
        assert!(out.contains(&format!("Deleted backup {name}: 3 objects")), "{out}");
    }
    assert_eq!(history.whole().await, [NEW]);
    assert!(!history.dir().join("lock.json").exists());
    let rest = std::fs::read_dir(history.dir().join("backups")).unwrap().count();
    assert_eq!(rest, 1, "nothing of the others is left");
}

#[tokio::test]
async fn a_pinned_one_and_the_newest_good_one_stay() {
    let history = history().await;
    put(&*history.store, &id(OLD).pinned(), "{}").await;
    for (name, why, remedy) in [(OLD, "pinned", "unpin"), (NEW, "newest good", "newer good backup")] {
        for more in [&[][..], &["--yes"]] {
            let (code, out, err) = run(&history, &[&["delete", name], more].concat()).await;
            assert_eq!((code, out.as_str()), (Some(11), ""), "{err}");
            assert!(err.contains(why) && err.contains(remedy), "{err}");
        }
    }
    assert_eq!(history.whole().await, [NEW, PARTIAL, OLD]);
    let (code, _, err) = run(&history, &["delete", "2020-01-04T00-00-00Z", "--yes"]).await;
    assert!(
        code == Some(8) && err.contains(&format!("did you mean {NEW}?")),
        "{err}"
    );
    // One that is damaged is no good one, however new.
    put(
        &*history.store,
        &id(NEW).verified(),
        r#"{"verdict":"damaged","at":"2020-01-04T00:00:00Z"}"#,
    )
    .await;
    let (code, _, err) = run(&history, &["delete", OLD, "--yes"]).await;
    assert_eq!(code, Some(11), "{err}");
    let (code, out, err) = run(&history, &["delete", NEW, "--yes", "--json"]).await;
    assert_eq!(code, Some(0), "{err}");
    let report: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        (report["backup"]["id"].as_str(), &report["dry_run"]),
        (Some(NEW), &Value::Bool(false))
    );
    assert_eq!(history.whole().await, [PARTIAL, OLD]);
}

#[tokio::test]
async fn nothing_goes_while_another_run_is_at_work_or_the_store_keeps_it() {
    let history = history().await;
    let life = Duration::from_secs(60);
    let clock = Clock::system();
    let lease = lease::acquire(history.store.clone(), &clock, "somebody/1", life);
    let lease = lease.await.unwrap();
    let (code, _, err) = run(&history, &["delete", OLD, "--yes"]).await;
    assert_eq!(code, Some(5), "{err}");
    assert!(err.contains("somebody/1"), "{err}");
    assert_eq!(
        run(&history, &["delete", OLD]).await.0,
        Some(0),
        "a look needs no lease"
    );
    lease.release().await.unwrap();
    assert_eq!(history.whole().await.len(), 3);
}
