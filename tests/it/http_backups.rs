//! What a client does with one backup over HTTP: drill it, pin it, unpin it.

use crate::http_fields::has_exactly;
use qdrant_backup::base::clock::Clock;
use qdrant_backup::ops::drill::PREFIX;
use qdrant_backup::repository::lease;
use qdrant_backup::wire::store::{self, GcsOptions, Store};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use testkit::peer::{Peer, Upload};
use testkit::service::Service;
use testkit::store::keys;
use tokio::sync::Semaphore;

/// A service over a peer with the collection `a`, and a backup of it.
struct Bench {
    peer: Peer,
    service: Arc<Service>,
    store: Arc<dyn Store>,
    id: String,
    dir: TempDir,
}

impl Bench {
    async fn new(env: &[(&str, &str)]) -> Self {
        let (peer, dir) = (Peer::start(&[("a", 1 << 20)]).await, tempfile::tempdir().unwrap());
        let url = url::Url::from_directory_path(dir.path()).unwrap().to_string();
        let own = [("QDRANT_URL", peer.url.as_str()), ("BACKUP_STORE", &url)];
        let service = Service::start(&[&own, env].concat()).await;
        let (status, report) = service.post("/backup", "").await;
        assert_eq!(status, 200, "{report}");
        Self {
            id: report["id"].as_str().unwrap().to_owned(),
            store: store::open(&url, GcsOptions::default()).await.unwrap(),
            service: Arc::new(service),
            peer,
            dir,
        }
    }

    async fn drill(&self, body: &str) -> (u16, Value) {
        self.service.post(&format!("/backups/{}/drill", self.id), body).await
    }

    /// Marks of the backup in the list.
    async fn marks(&self) -> Value {
        self.service.get("/backups").await.1["backups"][0]["marks"].clone()
    }

    fn collections(&self) -> Vec<String> {
        self.peer.lock().collections.keys().cloned().collect()
    }
}

fn code(answer: &Value) -> &str {
    answer["error"]["code"].as_str().unwrap_or_default()
}

const SAME: &str = r#"{"same_qdrant": true}"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_drill_uses_the_qdrant_that_is_named_for_it_and_leaves_nothing_there() {
    let there = Peer::start(&[("theirs", 1000)]).await;
    there.lock().api_key = Some("drill-key".into());
    let bench = Bench::new(&[("DRILL_QDRANT_URL", &there.url), ("DRILL_QDRANT_API_KEY", "drill-key")]).await;
    // It takes snapshots that the other one made.
    there.lock().made = bench.peer.lock().made.clone();
    bench.peer.lock().log.clear();
    for body in ["", "{}", SAME] {
        let (status, drilled) = bench.drill(body).await;
        assert_eq!((status, &drilled["verdict"]), (200, &json!("passed")), "{drilled}");
        assert_eq!(drilled["target"], json!(there.url));
        assert_eq!(drilled["collections"][0]["points"], json!(100));
    }
    assert_eq!(there.requests("/snapshots/upload"), 3);
    assert_eq!(there.lock().collections.keys().collect::<Vec<_>>(), ["theirs"]);
    assert_eq!(bench.peer.lock().log, [""; 0], "the live one is not asked at all");
    assert_eq!(bench.marks().await, json!(["good", "drilled"]));
    let (status, drilled) = bench.service.post("/backups/latest/drill", "").await;
    assert_eq!((status, drilled["id"].as_str()), (200, Some(bench.id.as_str())));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drill_whose_key_is_refused_names_the_variable_of_that_key() {
    let there = Peer::start(&[]).await;
    there.lock().api_key = Some("drill-key".into());
    let bench = Bench::new(&[("DRILL_QDRANT_URL", &there.url), ("DRILL_QDRANT_API_KEY", "wrong")]).await;
    let (status, answer) = bench.drill("").await;
    assert_eq!((status, code(&answer)), (502, "qdrant_unauthorized"), "{answer}");
    let remedy = answer["error"]["remedy"].as_str().unwrap();
    assert!(remedy.starts_with("set DRILL_QDRANT_API_KEY "), "{remedy}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_live_qdrant_is_drilled_on_only_when_the_request_says_so() {
    let bench = Bench::new(&[]).await;
    for body in ["", "{}", r#"{"same_qdrant": false}"#] {
        let (status, answer) = bench.drill(body).await;
        assert_eq!((status, code(&answer)), (409, "restore_refused"), "{answer}");
        let remedy = answer["error"]["remedy"].as_str().unwrap();
        assert!(
            remedy.contains("DRILL_QDRANT_URL") && remedy.contains("same_qdrant"),
            "{remedy}"
        );
    }
    assert_eq!(bench.peer.requests("/snapshots/upload"), 0);
    let (status, drilled) = bench.drill(SAME).await;
    assert_eq!((status, &drilled["verdict"]), (200, &json!("passed")), "{drilled}");
    assert_eq!(bench.collections(), ["a"]);

    // A Qdrant for drills that is the live one is none.
    let url = bench.peer.url.clone();
    let dir = tempfile::tempdir().unwrap();
    let store = url::Url::from_directory_path(dir.path()).unwrap().to_string();
    let env = [
        ("QDRANT_URL", url.as_str()),
        ("BACKUP_STORE", &store),
        ("DRILL_QDRANT_URL", &url),
    ];
    let service = Service::start(&env).await;
    assert_eq!(service.post("/backup", "").await.0, 200);
    assert_eq!(service.post("/backups/latest/drill", "").await.0, 409);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_that_does_not_come_back_is_told_with_what_was_found_and_listed_so() {
    let bench = Bench::new(&[]).await;
    bench.peer.lock().upload.push_back(Upload::Full);
    let (status, answer) = bench.drill(SAME).await;
    assert_eq!((status, code(&answer)), (502, "restore_failed"), "{answer}");
    assert!(
        answer["error"]["message"]
            .as_str()
            .unwrap()
            .contains("No space left on device"),
        "{answer}"
    );
    assert_eq!(answer["report"]["verdict"], "failed");
    assert_eq!(answer["report"]["collections"][0]["verdict"], "failed");
    assert_eq!(bench.marks().await, json!(["drill_failed"]));
    assert_eq!(bench.collections(), ["a"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drill_and_a_backup_never_run_at_once_and_each_says_who_is_in_the_way() {
    let bench = Bench::new(&[]).await;
    let reached = Arc::new(Semaphore::new(0));
    bench.peer.lock().upload.push_back(Upload::Held {
        reached: reached.clone(),
    });
    let (service, path) = (bench.service.clone(), format!("/backups/{}/drill", bench.id));
    let drill = tokio::spawn(async move { service.post(&path, SAME).await });
    reached.acquire().await.unwrap().forget();
    let (_, status) = bench.service.get("/status").await;
    assert_eq!(status["running"]["progress"]["collections"][0]["name"], "a", "{status}");
    for (status, answer) in [
        bench.service.post("/backup", "").await,
        bench.drill(SAME).await,
        bench
            .service
            .post("/restore", &json!({"id": bench.id}).to_string())
            .await,
    ] {
        assert_eq!((status, code(&answer)), (409, "run_in_progress"), "{answer}");
        assert_eq!(answer["held_by"]["who"], "service under test");
    }
    // The client goes away, the service stops: the drill cleans up all the same.
    drill.abort();
    assert!(drill.await.unwrap_err().is_cancelled());
    bench.service.stop().await;
    assert_eq!(bench.collections(), ["a"]);
    let asked = |what: &str| bench.peer.requests(&format!("{what} /collections/{PREFIX}"));
    assert_eq!(asked("DELETE"), 3, "the file, which Qdrant may store late");
    assert!(
        asked("GET") > 3,
        "and the collection, which it may make late, is looked for"
    );
    let keys = keys(&*bench.store, "").await;
    assert!(
        !keys.iter().any(|k| k.ends_with("drilled.json") || k == "lock.json"),
        "{keys:?}"
    );

    let bench = Bench::new(&[]).await;
    let lease = lease::acquire(
        bench.store.clone(),
        &Clock::system(),
        "nightly",
        Duration::from_secs(60),
    )
    .await
    .unwrap();
    let (status, answer) = bench.drill(SAME).await;
    assert_eq!((status, code(&answer)), (409, "run_in_progress"), "{answer}");
    assert_eq!(answer["held_by"]["who"], "nightly");
    lease.release().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_verification_is_told_who_is_at_the_first_and_since_when() {
    let peer = Peer::start(&[("a", 1000)]).await;
    let gcs = gcs_emulator::Emulator::start().await.unwrap();
    gcs.create_bucket("b");
    let env = [
        ("QDRANT_URL", peer.url.as_str()),
        ("BACKUP_STORE", "gs://b/p"),
        ("STORAGE_EMULATOR_HOST", gcs.url()),
    ];
    let service = Arc::new(Service::start(&env).await);
    let (_, report) = service.post("/backup", "").await;
    let again = format!("/backups/{}/verify", report["id"].as_str().unwrap());
    let record = gcs.fault("*verified.json", 1, gcs_emulator::Fault::SlowCommit);
    let first = service.clone();
    let first = tokio::spawn(async move { first.post("/backups/latest/verify", "").await });
    record.hit().await;
    let (status, answer) = service.post("/backups/latest/verify", "").await;
    assert_eq!((status, code(&answer)), (409, "run_in_progress"), "{answer}");
    assert_eq!(answer["held_by"]["who"], "service under test", "{answer}");
    assert!(answer["held_by"]["since"].is_string(), "{answer}");
    record.release();
    // The peer's bytes are no real snapshot.
    for (status, answer) in [first.await.unwrap(), service.post(&again, "").await] {
        assert_eq!((status, code(&answer)), (500, "backup_damaged"), "{answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pin_is_set_kept_shown_and_removed() {
    let bench = Bench::new(&[]).await;
    let path = format!("/backups/{}/pin", bench.id);
    let (status, answer) = bench.service.put(&path, r#"{"note": "before the migration"}"#).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(answer, json!({"id": bench.id, "already": null, "beside": null}));
    assert_eq!(bench.marks().await, json!(["good", "pinned"]));
    let (status, again) = bench.service.put("/backups/latest/pin", "").await;
    assert_eq!(
        (status, &again["already"]["note"], &again["already"]["by"]),
        (200, &json!("before the migration"), &json!("service under test")),
        "{again}"
    );
    let (_, shown) = bench.service.get("/backups/latest").await;
    assert_eq!(shown["summary"]["pinned"]["note"], "before the migration");
    for was_pinned in [true, false] {
        let (status, answer) = bench.service.delete(&path).await;
        assert_eq!(
            (status, answer),
            (200, json!({"id": bench.id, "was_pinned": was_pinned}))
        );
        assert_eq!(bench.marks().await, json!(["good"]));
    }

    let lease = lease::acquire(
        bench.store.clone(),
        &Clock::system(),
        "test (prune)",
        Duration::from_secs(60),
    )
    .await
    .unwrap();
    let (_, answer) = bench.service.put(&path, "{}").await;
    assert_eq!(answer["beside"], "test (prune)", "a pin may come too late for it");
    lease.release().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_malformed_or_no_backup_starts_and_writes_nothing() {
    let bench = Bench::new(&[]).await;
    let before = keys(&*bench.store, "").await;
    for (id, status, expected) in [
        ("nope", 400, "bad_request"),
        ("%FF", 400, "bad_request"),
        ("..%2f..%2flock.json", 400, "bad_request"),
        ("2020-01-01T00-00-00Z", 404, "backup_not_found"),
    ] {
        for (got, answer) in [
            bench.service.post(&format!("/backups/{id}/drill"), SAME).await,
            bench.service.put(&format!("/backups/{id}/pin"), "").await,
            bench.service.delete(&format!("/backups/{id}/pin")).await,
        ] {
            assert_eq!((got, code(&answer)), (status, expected), "{id}: {answer}");
            assert!(answer["error"]["remedy"].is_string(), "{id}: {answer}");
        }
    }
    let (drill, pin) = (
        format!("/backups/{}/drill", bench.id),
        format!("/backups/{}/pin", bench.id),
    );
    for wrong in [
        "{",
        "[]",
        "[true]",
        "null",
        r#"{"to": "http://x"}"#,
        r#"{"same_qdrant": 1}"#,
        r#"{"note": 7}"#,
    ] {
        assert_eq!(bench.service.post(&drill, wrong).await.0, 400, "{wrong}");
        assert_eq!(bench.service.put(&pin, wrong).await.0, 400, "{wrong}");
    }
    let long = format!("{{\"note\": \"{}\"}}", "x".repeat(64 << 10));
    let (status, answer) = bench.service.put(&pin, &long).await;
    assert_eq!((status, code(&answer)), (413, "body_too_large"));
    assert_eq!(bench.service.get(&drill).await.0, 405);
    assert_eq!(bench.service.post(&pin, "").await.0, 405);
    assert_eq!(keys(&*bench.store, "").await, before);
    assert_eq!(bench.peer.requests("/snapshots/upload"), 0);

    let empty = tempfile::tempdir().unwrap();
    let url = url::Url::from_directory_path(empty.path()).unwrap().to_string();
    let service = Service::start(&[("QDRANT_URL", bench.peer.url.as_str()), ("BACKUP_STORE", &url)]).await;
    for (status, answer) in [
        service.post("/backups/latest/drill", SAME).await,
        service.put("/backups/latest/pin", "").await,
        service.delete("/backups/latest/pin").await,
    ] {
        assert_eq!((status, code(&answer)), (404, "backup_not_found"), "{answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn both_faces_list_equally_many_backups_unless_told_otherwise() {
    let bench = Bench::new(&[]).await;
    for second in 0..25 {
        let folder = bench.dir.path().join(format!("backups/2026-01-01T00-00-{second:02}Z"));
        std::fs::create_dir(&folder).unwrap();
        std::fs::write(folder.join("manifest.json"), "[]").unwrap();
    }
    let served = bench.service.get("/backups").await.1;
    let child = testkit::process::command(&["list", "--json"], &bench.peer.url, bench.dir.path()).spawn();
    let (_, listed, err) = testkit::process::finish(child.unwrap()).await;
    let listed: Value = serde_json::from_str(&listed).unwrap_or_else(|_| panic!("{err}"));
    let count = |answer: &Value| answer["backups"].as_array().unwrap().len();
    assert_eq!((count(&served), count(&listed)), (20, 20));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_in_full_is_what_the_api_says_and_not_what_the_manifest_has() {
    let bench = Bench::new(&[]).await;
    let path = bench.dir.path().join(format!("backups/{}/manifest.json", bench.id));
    let mut manifest: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    let collection = &mut manifest["collections"][0];
    collection["of_the_future"] = json!(1);
    collection["artifacts"][0]["of_the_future"] = json!(1);
    manifest["of_the_future"] = json!({"deep": 1});
    manifest["qdrant"]["of_the_future"] = json!(1);
    manifest["qdrant"]["source"]["of_the_future"] = json!(1);
    manifest["failed"] = json!([{"collection": "b", "code": "of_the_future", "message": "m", "of_the_future": 1}]);
    std::fs::write(&path, serde_json::to_vec(&manifest).unwrap()).unwrap();
    let (status, shown) = bench.service.get(&format!("/backups/{}", bench.id)).await;
    assert_eq!(status, 200, "{shown}");
    has_exactly(
        &shown,
        &[
            "id text",
            "status text",
            "tool_version text",
            "started_at text",
            "finished_at text",
            "age_seconds number",
            "qdrant.version text",
            "qdrant.topology.kind text",
            "qdrant.source.url text",
            "qdrant.source.peers[] number",
            "selection {}",
            "collections[].name text",
            "collections[].points number",
            "collections[].points_before number",
            "collections[].points_after number",
            "collections[].points_estimated bool",
            "collections[].bytes number",
            "collections[].aliases []",
            "collections[].artifacts[].key text",
            "collections[].artifacts[].storage text",
            "collections[].artifacts[].kind text",
            "collections[].artifacts[].node number",
            "collections[].artifacts[].bytes number",
            "collections[].artifacts[].sha256 text",
            "collections[].artifacts[].sha256_confirmed_by_qdrant bool",
            "collections[].artifacts[].crc32c text",
            "collections[].artifacts[].version text",
            "collections[].artifacts[].requested_at text",
            "collections[].artifacts[].created_at text",
            "collections[].warnings []",
            "collections[].not_restorable null",
            "failed[].collection text",
            "failed[].code text",
            "failed[].message text",
            "failed[].remedy null",
            "warnings []",
            "summary.id text",
            "summary.status text",
            "summary.selection {}",
            "summary.marks[] text",
            "summary.finished_at text",
            "summary.collections number",
            "summary.points number",
            "summary.bytes number",
            "summary.points_by_collection.a number",
            "summary.verified null",
            "summary.drilled null",
            "summary.pinned null",
        ],
    );
    assert_eq!(
        shown["failed"][0]["code"], "of_the_future",
        "a code that this version does not know"
    );
}
