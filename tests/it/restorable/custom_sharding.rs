//! A collection whose snapshot Qdrant would restore without its points is refused by its name, and costs the others nothing.

use qdrant_backup::ops::backup::BackupOutcome;
use qdrant_backup::repository::manifest::Status;
use qdrant_backup::repository::selection::Selection;
use serde_json::Value;
use std::collections::BTreeSet;
use testkit::bench::Bench;
use testkit::peer::{Collection, Peer};
use testkit::process;

async fn peer(change: impl FnOnce(&mut Collection)) -> Peer {
    let peer = Peer::start(&[("a", 1000), ("custom", 1000), ("z", 1000)]).await;
    change(peer.lock().collections.get_mut("custom").unwrap());
    peer
}

#[tokio::test]
async fn what_would_not_come_back_is_refused_by_name_and_the_others_are_saved() {
    type Row = (&'static str, fn(&mut Collection));
    let rows: [Row; 3] = [
        ("custom sharding", |c| c.custom_sharding = true),
        ("resharding", |c| c.resharding = true),
        ("a shard without a replica", |c| c.lost_shards = 2),
    ];
    let mut causes = BTreeSet::new();
    for (what, change) in rows {
        let peer = peer(change).await;
        let bench = Bench::new(&peer.url).await;
        let report = bench.run().await.unwrap();
        assert_eq!(report.status, BackupOutcome::Partial, "{what}");
        let failure = &report.failed[0];
        assert_eq!(
            (
                report.failed.len(),
                failure.collection.as_str(),
                failure.error.code.as_str()
            ),
            (1, "custom", "unsupported"),
            "{what}"
        );
        assert!(
            failure.error.message.contains("\"custom\"") && failure.error.remedy.is_some(),
            "{failure:?}"
        );
        assert!(
            causes.insert(failure.error.message.clone()),
            "{what} is told as another cause: {causes:?}"
        );
        assert_eq!(
            peer.requests("POST /collections/custom/snapshots"),
            0,
            "{what}: no snapshot was made"
        );
        let manifest = bench.manifest(&report).await;
        let saved: Vec<_> = manifest.collections.iter().map(|c| c.name.as_str()).collect();
        assert_eq!((manifest.status, saved), (Status::Partial, vec!["a", "z"]), "{what}");

        let only = Selection {
            collections: vec!["custom".into()],
            ..Selection::default()
        };
        let report = bench.run_for(&only).await.unwrap();
        assert_eq!(
            (report.status, report.manifest),
            (BackupOutcome::Failed, None),
            "{what}"
        );
    }
}

#[tokio::test]
async fn what_becomes_custom_in_mid_run_is_not_saved_as_what_it_was() {
    let peer = peer(|_| {}).await;
    let bench = Bench::new(&peer.url).await;
    let other = peer.clone();
    // Between the first look at it and its snapshot.
    peer.lock().on_count = Some(Box::new(move || {
        for found in other.lock().collections.values_mut() {
            found.custom_sharding = true;
        }
    }));
    let only = Selection {
        collections: vec!["custom".into()],
        ..Selection::default()
    };
    let report = bench.run_for(&only).await.unwrap();
    assert_eq!((report.status, report.manifest), (BackupOutcome::Failed, None));
    assert_eq!(report.failed[0].error.code, "unsupported");
    assert_eq!(peer.requests("POST /collections/custom/snapshots"), 1);
    assert_eq!(peer.snapshots("custom"), [""; 0], "it was deleted all the same");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_refuses_it_too() {
    let peer = peer(|c| c.custom_sharding = true).await;
    let dir = tempfile::tempdir().unwrap();
    let mut codes = Vec::new();
    let mut report = Value::Null;
    for task in ["0", "1"] {
        let mut command = process::task(task, &peer.url, dir.path());
        let (code, out, err) = process::finish(command.spawn().unwrap()).await;
        report = serde_json::from_str(&out).unwrap_or_else(|_| panic!("{out}{err}"));
        codes.push(code);
    }
    // The second one has it, and ends the backup.
    assert_eq!(codes, [Some(0), Some(3)], "{report}");
    assert_eq!(report["error"]["code"], "backup_partial", "{report}");
    let backup = &report["report"]["backup"];
    assert_eq!(
        (&backup["status"], &backup["failed"][0]["collection"]),
        (&"partial".into(), &"custom".into())
    );
    assert_eq!(backup["collections"].as_array().unwrap().len(), 2);
    assert_eq!(peer.requests("POST /collections/custom/snapshots"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn check_tells_it_before_a_backup_does() {
    let peer = peer(|c| c.custom_sharding = true).await;
    let dir = tempfile::tempdir().unwrap();
    let child = process::command(&["check", "--json"], &peer.url, dir.path())
        .spawn()
        .unwrap();
    let (code, out, err) = process::finish(child).await;
    assert_eq!(code, Some(6), "{out}{err}");
    let report: Value = serde_json::from_str(&out).unwrap();
    let lines = report["checks"].as_array().unwrap();
    let plan: Vec<_> = lines.iter().filter(|line| line["check"] == "plan").collect();
    assert_eq!(
        (&plan[0]["state"], &plan[1]["state"]),
        (&"ok".into(), &"fail".into()),
        "{plan:?}"
    );
    let text = |line: &Value| line["message"].as_str().unwrap().to_owned();
    let names = |line| {
        let text = text(line);
        ["a", "custom", "z"].map(|name| text.contains(&format!("{name:?}")))
    };
    assert_eq!(names(plan[0]), [true, false, true], "{plan:?}");
    assert!(text(plan[1]).contains("\"custom\""), "{plan:?}");
}
