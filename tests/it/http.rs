//! The HTTP service over a real socket: what each endpoint answers, in health and in sickness.

use qdrant_backup::base::clock::Clock;
use qdrant_backup::repository::lease;
use qdrant_backup::server;
use reqwest::Method;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use testkit::peer::{Create, Peer};
use testkit::service::{Answer, Service, Setup, answer};
use tokio::sync::Semaphore;

/// An error in the one form of errors, with this status and code.
#[track_caller]
fn assert_error(answer: &Answer, status: u16, code: &str) {
    let Answer { body, .. } = answer;
    assert_eq!(
        (answer.status, body["error"]["code"].as_str()),
        (status, Some(code)),
        "{body}"
    );
    assert!(!body["error"]["message"].as_str().unwrap().is_empty(), "{body}");
    assert!(body["error"]["remedy"].is_string(), "no remedy: {body}");
    assert_eq!(
        body["request_id"],
        answer.headers["x-request-id"].to_str().unwrap(),
        "{body}"
    );
    assert_eq!(answer.headers["content-type"], "application/json");
}

/// Holds the next snapshot of `collection` on Qdrant.
fn hold(peer: &Peer, collection: &str) -> (Arc<Semaphore>, Arc<Semaphore>) {
    let (reached, go) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    peer.on_create(
        collection,
        [Create::Held {
            reached: reached.clone(),
            go: go.clone(),
        }],
    );
    (reached, go)
}

const NOBODY: &str = "http://127.0.0.1:1";

#[tokio::test]
async fn health_depends_on_nobody() {
    let service = Service::over(NOBODY).await;
    service.first_start().await;
    std::fs::remove_dir_all(service.dir()).unwrap();
    let health = service.look("/health").await;
    assert_eq!((health.status, &health.body["status"]), (200, &json!("ok")));
}

#[tokio::test]
async fn status_has_the_same_shape_whatever_is_wrong() {
    let peer = Peer::start(&[("docs", 1000)]).await;
    let well = Service::over(&peer.url).await;
    let none_yet = well.look("/status").await;
    assert_eq!(
        (none_yet.status, &none_yet.body["last_backup"]),
        (200, &Value::Null),
        "{}",
        none_yet.body
    );
    assert_eq!(well.backup("{}").await.status, 200);
    let status = well.look("/status").await;
    assert_eq!((status.status, &status.body["status"]), (200, &json!("ok")));
    assert_eq!(
        status.body["qdrant"],
        json!({"ok": true, "url": peer.url, "version": "1.18.3", "error": null})
    );
    assert_eq!(status.body["store"]["ok"], true);
    assert_eq!(status.body["last_backup"]["status"], "complete");
    assert_eq!(status.body["last_backup"]["selection"], json!({}), "that is everything");
    assert!(status.body["last_backup"]["age_seconds"].is_u64());
    assert_eq!(status.body["running"], Value::Null);

    let without_qdrant = Service::over(NOBODY).await;
    let down = without_qdrant.look("/status").await;
    assert_eq!((down.status, &down.body["status"]), (503, &json!("degraded")));
    assert_eq!(
        (&down.body["qdrant"]["ok"], &down.body["store"]["ok"]),
        (&json!(false), &json!(true))
    );
    assert_eq!(down.body["qdrant"]["error"]["code"], "qdrant_unreachable");

    std::fs::remove_dir_all(well.dir()).unwrap();
    let lost = well.look("/status").await;
    assert_eq!(
        (lost.status, &lost.body["store"]["error"]["code"]),
        (503, &json!("store_missing")),
        "{}",
        lost.body
    );

    peer.lock().api_key = Some("k".into());
    let refused = well.look("/status").await;
    assert_eq!(refused.body["qdrant"]["error"]["code"], "qdrant_unauthorized");
    assert_eq!(refused.body["qdrant"]["version"], "1.18.3", "the version needs no key");

    let keys = |body: &Value| body.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    for other in [down, lost, refused] {
        assert_eq!(keys(&other.body), keys(&status.body));
        for part in ["qdrant", "store"] {
            assert_eq!(keys(&other.body[part]), keys(&status.body[part]));
        }
    }
}

#[tokio::test]
async fn a_qdrant_that_does_not_answer_is_named_with_a_remedy() {
    // Connections are accepted by the system, and nobody reads.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let service = Setup::over(&url)
        .start_as(|app| app.with_patience(Duration::from_millis(500)))
        .await;
    let status = service.look("/status").await;
    let freshness = service.look("/health/freshness").await;
    let collections = service.look("/collections").await;
    assert_error(&collections, 503, "stalled");
    for (answer, error) in [
        (&status, &status.body["qdrant"]["error"]),
        (&freshness, &freshness.body["qdrant_error"]),
        (&collections, &collections.body["error"]),
    ] {
        let text = |field: &str| {
            error[field]
                .as_str()
                .unwrap_or_else(|| panic!("no {field}: {}", answer.body))
        };
        assert_eq!((answer.status, text("code")), (503, "stalled"));
        assert!(
            text("message").contains(&url) && text("message").contains("500ms"),
            "{error}"
        );
        assert!(!text("remedy").is_empty(), "{error}");
    }
}

#[tokio::test]
async fn collections_come_with_points_and_the_size_of_their_last_backup() {
    let peer = Peer::start(&[("docs", 1000), ("logs", 10)]).await;
    let service = Service::over(&peer.url).await;
    assert_eq!(service.backup(r#"{"collection": "docs"}"#).await.status, 200);
    let collections = service.look("/collections").await;
    assert_eq!(collections.status, 200);
    let [docs, logs] = &collections.body["collections"].as_array().unwrap()[..] else {
        panic!("{}", collections.body);
    };
    assert_eq!(
        (&docs["name"], &docs["points"], &docs["backup_bytes"]),
        (&json!("docs"), &json!(100), &json!(1000))
    );
    assert_eq!((&logs["name"], &logs["backup_bytes"]), (&json!("logs"), &Value::Null));

    let error = Service::over(NOBODY).await.look("/collections").await;
    assert_error(&error, 503, "qdrant_unreachable");
}

#[tokio::test]
async fn a_backup_is_asked_for_as_it_always_was_and_can_then_be_looked_at() {
    let peer = Peer::start(&[("docs", 1000), ("logs", 10)]).await;
    let service = Service::over(&peer.url).await;
    for (body, names) in [
        (r#"{"collection": "docs"}"#, vec!["docs"]),
        (r#"{"collections": ["logs", "docs"]}"#, vec!["docs", "logs"]),
        (r#"{"include": ["*"], "exclude": ["d*"]}"#, vec!["logs"]),
        ("", vec!["docs", "logs"]),
        ("{}", vec!["docs", "logs"]),
    ] {
        let made = service.backup(body).await;
        assert_eq!(
            (made.status, &made.body["status"]),
            (200, &json!("complete")),
            "{body}: {}",
            made.body
        );
        let saved = made.body["collections"].as_array().unwrap();
        assert_eq!(
            saved.iter().map(|c| c["name"].as_str().unwrap()).collect::<Vec<_>>(),
            names,
            "{body}"
        );
    }
    // Any content type, as before.
    let form = service
        .request(Method::POST, "/backup")
        .header("content-type", "text/plain")
        .body("{}");
    let made = answer(form).await;
    assert_eq!(made.status, 200);

    let id = made.body["id"].as_str().unwrap();
    let list = service.look("/backups").await;
    assert_eq!(list.body["backups"].as_array().unwrap().len(), 6);
    let list = service.look("/backups?limit=1").await;
    assert_eq!(list.body["backups"][0]["id"], id);
    assert_eq!(list.body["backups"].as_array().unwrap().len(), 1);
    let one = service.look(&format!("/backups/{id}")).await;
    assert_eq!((one.status, &one.body["id"]), (200, &json!(id)));
    assert_eq!(service.look("/backups/latest").await.body, one.body);
}

#[tokio::test]
async fn malformed_requests_are_told_what_is_wrong_and_start_nothing() {
    let peer = Peer::start(&[("docs", 1000)]).await;
    let service = Service::over(&peer.url).await;
    for (body, word) in [
        ("{", ""),
        ("[]", ""),
        (r#"{"colection": "docs"}"#, "colection"),
        (r#"{"collection": 7}"#, "7"),
        (r#"{"collection": ""}"#, "collection"),
        (r#"{"include": ["[a"]}"#, "[a"),
        (r#"{"collections": []}"#, "collections"),
    ] {
        let error = service.backup(body).await;
        assert_error(&error, 400, "bad_request");
        assert!(
            error.body["error"]["message"].as_str().unwrap().contains(word),
            "{body}: {}",
            error.body
        );
    }
    assert_error(&service.backup(vec![b' '; (64 << 10) + 1]).await, 413, "body_too_large");
    assert_error(&service.look("/backups?limit=0").await, 400, "bad_request");
    assert_error(&service.look("/backups?limit=many").await, 400, "bad_request");
    assert_error(&service.look("/backups?page=2").await, 400, "bad_request");
    assert_error(&service.look("/backups/%FF").await, 400, "bad_request");
    assert_error(&service.look("/backups/..%2f..%2flock.json").await, 400, "bad_request");
    assert_eq!(peer.requests("/snapshots"), 0);
}

#[tokio::test]
async fn unknown_things_are_not_found() {
    let peer = Peer::start(&[("docs", 1000)]).await;
    let service = Service::over(&peer.url).await;
    assert_error(&service.look("/nothing").await, 404, "not_found");
    assert_error(
        &service.look("/backups/2020-01-01T00-00-00Z").await,
        404,
        "backup_not_found",
    );
    assert_error(&service.look("/backups/latest").await, 404, "backup_not_found");
    for name in ["nope", "..", "向量", "a/b", "100%", "é".repeat(95).as_str()] {
        let error = service.backup(json!({"collection": name}).to_string()).await;
        assert_error(&error, 404, "collection_not_found");
    }
    let error = answer(service.request(Method::DELETE, "/backup")).await;
    assert_error(&error, 405, "method_not_allowed");
    assert_eq!(error.headers["allow"], "POST");
}

#[tokio::test]
async fn plain_request_ids_are_kept_and_others_replaced() {
    let service = Service::over(NOBODY).await;
    for path in ["/health", "/nothing"] {
        let ask = |id: &str| answer(service.request(Method::GET, path).header("x-request-id", id));
        assert_eq!(ask("job-17.a_b").await.headers["x-request-id"], "job-17.a_b");
        for odd in ["a b", "{\"a\":1}", "x".repeat(65).as_str()] {
            let given = ask(odd).await.headers["x-request-id"].to_str().unwrap().to_owned();
            assert!(given != odd && given.len() == 36, "{given}");
        }
    }
    let error = answer(
        service
            .request(Method::GET, "/nothing")
            .header("x-request-id", "job-17"),
    )
    .await;
    assert_error(&error, 404, "not_found");
    assert_eq!(error.body["request_id"], "job-17");
}

#[tokio::test]
async fn a_second_backup_is_told_who_makes_the_first() {
    let peer = Peer::start(&[("docs", 1000)]).await;
    let service = Service::over(&peer.url).await;
    let (reached, go) = hold(&peer, "docs");
    let first = tokio::spawn(answer(service.request(Method::POST, "/backup")));
    reached.acquire().await.unwrap().forget();

    let second = service.backup("{}").await;
    assert_error(&second, 409, "run_in_progress");
    assert_eq!(second.body["held_by"]["who"], "service under test");
    assert!(second.body["held_by"]["since"].is_string());
    let running = &service.look("/status").await.body["running"];
    assert_eq!(
        (&running["who"], &running["progress"]["collections"][0]["phase"]),
        (&json!("service under test"), &json!("snapshot"))
    );

    go.add_permits(1);
    assert_eq!(first.await.unwrap().status, 200);
    assert_eq!(service.backup("{}").await.status, 200, "the way is free again");
}

#[tokio::test]
async fn a_backup_elsewhere_is_respected_and_shown() {
    let peer = Peer::start(&[("docs", 1000)]).await;
    let service = Service::over(&peer.url).await;
    let life = Duration::from_secs(60);
    let lease = lease::acquire(service.store().await, &Clock::system(), "somebody else", life)
        .await
        .unwrap();
    let error = service.backup("{}").await;
    assert_error(&error, 409, "run_in_progress");
    assert_eq!(error.body["held_by"]["who"], "somebody else");
    assert_eq!(service.look("/status").await.body["running"]["who"], "somebody else");
    lease.release().await.unwrap();
    assert_eq!(service.backup("{}").await.status, 200);
}

#[tokio::test]
async fn a_client_that_goes_away_does_not_end_the_backup() {
    let peer = Peer::start(&[("docs", 1000)]).await;
    let service = Service::over(&peer.url).await;
    let (reached, go) = hold(&peer, "docs");
    let client = tokio::spawn(service.request(Method::POST, "/backup").send());
    reached.acquire().await.unwrap().forget();
    client.abort();
    assert!(client.await.unwrap_err().is_cancelled());
    go.add_permits(1);
    service.is_idle().await;
    let list = service.look("/backups").await;
    assert_eq!(list.body["backups"][0]["status"], "complete", "{}", list.body);
}

#[tokio::test]
async fn a_partial_backup_is_a_failure_with_its_list() {
    let peer = Peer::start(&[("docs", 1000), ("logs", 10)]).await;
    let service = Service::over(&peer.url).await;
    peer.on_create("logs", [Create::Forbidden]);
    let partial = service.backup("{}").await;
    assert_error(&partial, 500, "backup_partial");
    let report = &partial.body["report"];
    assert_eq!(
        (&report["status"], &report["collections"][0]["name"]),
        (&json!("partial"), &json!("docs"))
    );
    let failed = &report["failed"][0];
    assert_eq!(
        (&failed["collection"], &failed["code"]),
        (&json!("logs"), &json!("qdrant_forbidden"))
    );
    assert!(failed["remedy"].is_string());

    peer.on_create("logs", [Create::Forbidden]);
    let failed = service.backup(r#"{"collection": "logs"}"#).await;
    assert_error(&failed, 500, "backup_failed");
    assert_eq!(failed.body["report"]["manifest"], Value::Null);
}

#[tokio::test]
async fn what_does_not_answer_is_named_with_the_remedy() {
    let service = Service::over(NOBODY).await;
    let error = service.backup("{}").await;
    assert_error(&error, 503, "qdrant_unreachable");
    assert!(
        error.body["error"]["message"].as_str().unwrap().contains(NOBODY),
        "{}",
        error.body
    );

    let peer = Peer::start(&[("docs", 1000)]).await;
    peer.lock().api_key = Some("k".into());
    let service = Service::over(&peer.url).await;
    assert_error(&service.backup("{}").await, 502, "qdrant_unauthorized");
    std::fs::remove_dir_all(service.dir()).unwrap();
    assert_error(&service.backup("{}").await, 502, "store_missing");
    assert_error(&service.look("/backups").await, 502, "store_missing");
}

#[tokio::test]
async fn stopping_ends_the_running_backup_cleanly_and_tells_its_client() {
    let peer = Peer::start(&[("docs", 1000)]).await;
    let service = Service::over(&peer.url).await;
    let (reached, go) = hold(&peer, "docs");
    let client = tokio::spawn(answer(service.request(Method::POST, "/backup")));
    reached.acquire().await.unwrap().forget();
    service.begin_to_stop();
    go.add_permits(1);
    let told = client.await.unwrap();
    assert_error(&told, 503, "cancelled");
    service.stop().await;
    let lease = lease::holder(&*service.store().await, &Clock::system()).await.unwrap();
    assert_eq!(lease, None, "the lease is given back");
    assert!(!service.dir().join("backups").exists(), "something was published");
}

#[tokio::test]
async fn an_address_that_is_taken_is_named_with_the_remedy() {
    let service = Service::over(NOBODY).await;
    let address = service.url.trim_start_matches("http://").parse().unwrap();
    let error = server::listen(address).await.unwrap_err();
    assert!(
        error.chain().contains(&address.to_string()) && error.remedy_text().unwrap().contains("PORT"),
        "{error}"
    );
}

#[tokio::test]
async fn a_query_on_a_request_that_changes_something_is_refused() {
    let peer = Peer::start(&[("docs", 10)]).await;
    let service = Service::over(&peer.url).await;
    for path in [
        "/backup?collection=docs",
        "/prune?dry_run=true",
        "/restore?dry_run=true",
        "/backups/latest/drill?same_qdrant=true",
    ] {
        let told = answer(service.request(Method::POST, path).body("{}")).await;
        assert_eq!(
            (told.status, &told.body["error"]["code"]),
            (400, &json!("bad_request")),
            "{path}: {}",
            told.body
        );
    }
    assert_eq!(
        service.get("/backups").await.1["backups"],
        json!([]),
        "nothing was begun"
    );
}
