//! `Idempotency-Key` on whatever begins an operation: a retry finds the first run, here, elsewhere and after a restart.

use super::ended;
use reqwest::Method;
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use testkit::lost::Lost;
use testkit::peer::{Create, Peer, Upload};
use testkit::service::{Answer, Service, Setup, answer};
use tokio::sync::Semaphore;

async fn keyed(service: &Service, path: &str, key: &str, body: &str) -> Answer {
    let request = service.request(Method::POST, path).header("idempotency-key", key);
    answer(request.body(body.to_owned())).await
}

/// One of the instances over a store.
async fn instance(peer: &Peer, dir: &Path) -> Service {
    let store = url::Url::from_directory_path(dir).unwrap();
    let env = [
        ("QDRANT_URL", peer.url.as_str()),
        ("BACKUP_STORE", store.as_str()),
        ("RETAIN_LAST", "1"),
    ];
    let mut setup = Setup::from_env(&env);
    setup.config.retention.policy.min_age = Duration::ZERO;
    setup.start().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_finds_its_backup_although_nothing_tells_of_the_run_any_more() {
    let peer = Peer::start(&[("a", 1000), ("b", 1000)]).await;
    let dir = tempfile::tempdir().unwrap();
    let service = instance(&peer, dir.path()).await;
    let made = keyed(&service, "/v1/backups?wait=true", "good", "").await;
    assert_eq!(made.status, 200, "{}", made.body);
    peer.on_create("b", [Create::Forbidden]);
    let partial = keyed(&service, "/v1/backups?wait=true", "partial", "").await;
    assert_eq!(partial.status, 500, "{}", partial.body);
    service.stop().await;
    std::fs::remove_dir_all(dir.path().join("runs")).unwrap();

    let after = instance(&peer, dir.path()).await;
    for path in ["/v1/backups", "/v1/backups?wait=true"] {
        let again = keyed(&after, path, "good", "").await;
        let case = format!("{path}: {}", again.body);
        assert_eq!((again.status, &again.body["repeated"]), (200, &json!(true)), "{case}");
        assert_eq!(again.headers["location"], made.headers["location"], "{case}");
        for field in ["id", "kind", "state", "backup_id"] {
            assert_eq!(again.body[field], made.body[field], "{field} of {case}");
        }
        assert_eq!(
            (&again.body["here"], &again.body["error"]),
            (&json!(false), &Value::Null)
        );
        assert_eq!(again.body["report"]["id"], made.body["backup_id"], "{case}");
        let progress = &again.body["progress"];
        assert_eq!(
            (&progress["units"], &progress["done"]),
            (&json!(2), &json!(2)),
            "{case}"
        );
        assert_eq!(
            (&progress["bytes_done"], &progress["part"]),
            (&made.body["progress"]["bytes_done"], &json!(1.0)),
            "{case}"
        );
    }
    let again = keyed(&after, "/v1/backups", "partial", "").await;
    assert_eq!(
        (again.status, &again.body["state"], &again.body["error"]["code"]),
        (200, &json!("failed"), &json!("backup_partial")),
        "{}",
        again.body
    );
    assert_eq!(again.body["progress"]["failed"], 1, "{}", again.body);
    let waited = keyed(&after, "/v1/backups?wait=true", "partial", "").await;
    assert_eq!((waited.status, &waited.body["code"]), (500, &json!("backup_partial")));
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_begins_work_is_found_again_by_its_key() {
    let peer = Peer::start(&[("a", 1000)]).await;
    let dir = tempfile::tempdir().unwrap();
    let (service, elsewhere) = (instance(&peer, dir.path()).await, instance(&peer, dir.path()).await);
    let made = keyed(&service, "/v1/backups?wait=true", "k", "").await;
    let old = made.body["backup_id"].as_str().unwrap();
    let second = service.backup("{}").await.body["id"].clone();
    for (path, body, other) in [
        ("/v1/verifications", r#"{"id": "OLD"}"#, r#"{"id": "latest"}"#),
        (
            "/v1/restores",
            r#"{"id": "latest", "into": "{}-2"}"#,
            r#"{"id": "latest", "into": "{}-3"}"#,
        ),
        (
            "/v1/drills",
            r#"{"id": "latest", "same_qdrant": true}"#,
            r#"{"id": "latest", "same_qdrant": true, "no_lock": true}"#,
        ),
        ("/v1/prunes", r#"{"dry_run": false}"#, ""),
    ] {
        let body = body.replace("OLD", old);
        let first = keyed(&service, path, "k", &body).await;
        assert_eq!(first.status, 202, "{path}: {}", first.body);
        let end = ended(&service, &first).await;
        for (instance, is_here) in [(&service, true), (&elsewhere, false)] {
            let again = keyed(instance, path, "k", &body).await;
            let case = format!("{path}: {}", again.body);
            assert_eq!((again.status, &again.body["repeated"]), (200, &json!(true)), "{case}");
            assert_eq!(again.headers["location"], first.headers["location"], "{case}");
            assert_eq!(
                (&again.body["state"], &again.body["error"], &again.body["here"]),
                (&end["state"], &end["error"], &json!(is_here)),
                "{case}"
            );
            // Whoever waits for a failed one is answered with its error, by whichever instance.
            let waited = keyed(instance, &format!("{path}?wait=true"), "k", &body).await;
            match end["error"]["code"].as_str() {
                None => assert_eq!(waited.status, 200, "{case}"),
                Some(code) => assert_eq!(
                    (waited.status >= 400, &waited.body["code"], &waited.body["operation"]),
                    (true, &json!(code), &end["id"]),
                    "{case}"
                ),
            }
            if !other.is_empty() {
                let reused = keyed(instance, path, "k", other).await;
                assert_eq!(
                    (reused.status, &reused.body["code"]),
                    (422, &json!("idempotency_key_reused")),
                    "{path}: {}",
                    reused.body
                );
            }
        }
        let wrong = keyed(&service, path, "", &body).await;
        assert_eq!(
            (wrong.status, &wrong.body["code"]),
            (400, &json!("bad_request")),
            "{path}"
        );
    }
    // It is known to be damaged by now, so that it is no latest one.
    let body = json!({ "id": second }).to_string();
    let another = keyed(&service, "/v1/verifications", "k2", &body).await;
    assert_eq!(
        (another.status, another.body.get("repeated")),
        (202, None),
        "{}",
        another.body
    );
    // A day later a key is as good as new.
    ended(&service, &another).await;
    service.hands.pass(Duration::from_secs(25 * 3600));
    let next_day = keyed(&service, "/v1/verifications", "k2", &body).await;
    assert_eq!(next_day.status, 202, "{}", next_day.body);
    assert_ne!(
        next_day.headers["location"], another.headers["location"],
        "{}",
        next_day.body
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_of_a_restore_that_works_finds_it_and_waits_for_it() {
    let lost = Lost::several(&["a"], 1).await;
    let (reached, go) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    lost.upload(Upload::HeldUntil {
        reached: reached.clone(),
        go: go.clone(),
    });
    let dir = lost.bench.dir.path();
    let (service, elsewhere) = (instance(&lost.peer, dir).await, instance(&lost.peer, dir).await);
    let (elsewhere, body) = (Arc::new(elsewhere), r#"{"id": "latest"}"#);
    let first = keyed(&service, "/v1/restores", "k", body).await;
    assert_eq!(first.status, 202, "{}", first.body);
    reached.acquire().await.unwrap().forget();
    let at = first.headers["location"].to_str().unwrap();
    while elsewhere.get(at).await.0 != 200 {
        tokio::task::yield_now().await;
    }
    for (instance, is_here) in [(&service, true), (&*elsewhere, false)] {
        let again = keyed(instance, "/v1/restores", "k", body).await;
        assert_eq!(
            (again.status, &again.body["repeated"], &again.body["here"]),
            (202, &json!(true), &json!(is_here)),
            "{}",
            again.body
        );
        assert_eq!(again.headers["location"], first.headers["location"]);
    }
    let waiting = {
        let elsewhere = elsewhere.clone();
        tokio::spawn(async move { keyed(&elsewhere, "/v1/restores?wait=true", "k", body).await })
    };
    go.add_permits(1);
    let (end, waited) = (ended(&service, &first).await, waiting.await.unwrap());
    assert_eq!(
        (waited.status, &end["state"]),
        (200, &json!("succeeded")),
        "{end} {}",
        waited.body
    );
    assert_eq!(waited.body["id"], end["id"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_whose_run_died_or_had_begun_with_nothing_begins_again() {
    let peer = Peer::start(&[("a", 1000)]).await;
    let dir = tempfile::tempdir().unwrap();
    let service = instance(&peer, dir.path()).await;
    assert_eq!(service.backup("{}").await.status, 200);
    let body = r#"{"id": "latest", "into": "{}-2"}"#;
    peer.lock().api_key = Some("another".into());
    let refused = keyed(&service, "/v1/restores?wait=true", "k", body).await;
    assert_eq!(
        (refused.status, &refused.body["code"]),
        (502, &json!("qdrant_unauthorized"))
    );
    peer.lock().api_key = None;
    let again = keyed(&service, "/v1/restores", "k", body).await;
    assert_eq!(
        (again.status, again.body.get("repeated")),
        (202, None),
        "{}",
        again.body
    );
    ended(&service, &again).await;
    // The same one as if its process had died.
    let id = again.body["id"].as_str().unwrap();
    let file = dir.path().join(format!("runs/{id}.json"));
    let mut record: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    record["state"] = json!("running");
    std::fs::write(&file, record.to_string()).unwrap();
    let long_ago = std::time::SystemTime::now() - Duration::from_secs(3600);
    let opened = std::fs::File::options().write(true).open(&file).unwrap();
    opened.set_modified(long_ago).unwrap();
    let elsewhere = instance(&peer, dir.path()).await;
    let anew = keyed(&elsewhere, "/v1/restores", "k", body).await;
    assert_eq!((anew.status, anew.body.get("repeated")), (202, None), "{}", anew.body);
}
