//! Stores in which every record says something that it should not.

use super::mutation::{Random, mutate};
use super::wrong_end;
use futures_util::future::join_all;
use serde_json::{Value, json};
use std::path::Path;
use testkit::bench::Bench;
use testkit::peer::Peer;
use testkit::process::{command, finish};
use testkit::service::Service;

const ROUNDS: u64 = 12;
/// What the backups of a store are called.
const IDS: [&str; 6] = [
    "0000-01-01T00-00-00Z",
    "2025-11-22T12-00-00Z",
    "2025-11-23T12-00-00Z",
    "2025-11-24T12-00-00Z",
    "2999-01-01T00-00-00Z",
    "9999-12-31T23-59-59Z",
];

/// All records that lie in a store, with the id of their backup.
async fn records(peer: &Peer) -> (String, Vec<(String, Value)>) {
    let bench = Bench::new(&peer.url).await;
    let id = bench.run().await.unwrap().id.to_string();
    for args in [&["verify", &id][..], &["pin", &id, "--note", "for the audit"]] {
        let (_, out, err) = finish(command(args, &peer.url, bench.dir.path()).spawn().unwrap()).await;
        assert!(!err.contains("failed to record"), "{out}{err}");
    }
    let mut records = Vec::new();
    for key in bench.keys().await.iter().filter(|key| key.ends_with(".json")) {
        let bytes = std::fs::read(bench.dir.path().join(key)).unwrap();
        records.push((key.clone(), serde_json::from_slice(&bytes).unwrap()));
    }
    let at = "2025-11-22T12:00:00Z";
    records.push((
        format!("backups/{id}/drilled.json"),
        json!({"format": 1, "id": id, "at": at, "by": "me", "tool_version": "1", "target": "http://q", "verdict": "passed",
            "target_version": "1.18.3", "collections": [{"name": "a", "verdict": "passed", "points": 1, "sampled": 1,
            "bytes": 1, "seconds": 0.5}], "warnings": ["x"]}),
    ));
    records.push((
        format!("intents/{id}/a-1.json"),
        json!({"run": id, "collection": "a", "qdrant": peer.url.clone() + "/", "existing": ["x"], "requested_at": at,
            "within_seconds": 5}),
    ));
    records.push((
        "lock.json".to_owned(),
        json!({"holder": "x", "who": "somebody", "since": at, "expires_at": at}),
    ));
    assert!(records.len() >= 6, "{records:?}");
    (id, records)
}

/// A store in which most records have something odd.
fn fill(store: &Path, (id, records): &(String, Vec<(String, Value)>), random: &mut Random) {
    for to in IDS {
        for (key, record) in records {
            let mut record: Value = serde_json::from_str(&record.to_string().replace(id, to)).unwrap();
            for _ in 0..random.below(4) {
                mutate(&mut record, random);
            }
            let path = store.join(key.replace(id, to));
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, record.to_string()).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_record_makes_a_command_or_the_service_panic() {
    let peer = Peer::start(&[("a", 1000), ("b", 10)]).await;
    let records = records(&peer).await;
    for seed in 0..ROUNDS {
        let store = tempfile::tempdir().unwrap();
        fill(store.path(), &records, &mut Random::new(seed));
        let mut commands = vec![
            vec!["list"],
            vec!["list", "--json"],
            vec!["prune"],
            vec!["status"],
            vec!["check"],
            vec!["verify", "all"],
            vec!["restore", "latest", "--dry-run"],
        ];
        for id in IDS {
            commands.extend([vec!["show", id], vec!["restore", id, "--dry-run"], vec!["pin", id]]);
        }
        let ends = join_all(commands.iter().map(|args| wrong_end(args, &peer.url, store.path()))).await;
        let wrong: Vec<_> = ends.into_iter().flatten().collect();
        assert!(wrong.is_empty(), "seed {seed}: {wrong:#?}");

        let url = url::Url::from_directory_path(store.path()).unwrap();
        let service = Service::start(&[
            ("QDRANT_URL", &peer.url),
            ("BACKUP_STORE", url.as_str()),
            ("RETAIN_LAST", "2"),
        ])
        .await;
        for path in ["/backups", "/health/freshness", "/status"] {
            let (status, answer) = service.get(path).await;
            assert_ne!(
                answer["error"]["code"], "internal",
                "seed {seed}: {path}: {status} {answer}"
            );
        }
        for id in IDS {
            let (status, answer) = service.get(&format!("/backups/{id}")).await;
            assert_ne!(
                answer["error"]["code"], "internal",
                "seed {seed}: {id}: {status} {answer}"
            );
        }
        for (path, body) in [
            ("/prune", r#"{"dry_run": true}"#),
            ("/restore", r#"{"id": "latest", "dry_run": true}"#),
        ] {
            let (status, answer) = service.post(path, body).await;
            assert_ne!(
                answer["error"]["code"], "internal",
                "seed {seed}: {path}: {status} {answer}"
            );
        }
    }
}
