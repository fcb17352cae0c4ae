//! What is asked for and is not there is refused at once: nothing is begun that would fail.

use super::post;
use serde_json::{Value, json};
use testkit::peer::Peer;
use testkit::service::Service;

#[tokio::test(flavor = "multi_thread")]
async fn a_mistaken_name_is_refused_before_anything_begins() {
    let peer = Peer::start(&[("a", 1000)]).await;
    let service = Service::over(&peer.url).await;
    let made = post(&service, "/v1/backups?wait=true", "").await;
    let id = made.body["backup_id"].as_str().unwrap();
    let nothing = "2020-01-01T00-00-00Z";
    let in_it = format!(r#"{{"id": "{id}", "collections": ["nope"]}}"#);
    for (path, body, status, code) in [
        ("/v1/verifications", r#"{"id": "nonsense"}"#, 400, "bad_request"),
        ("/v1/verifications", r#"{"id": "NOTHING"}"#, 404, "backup_not_found"),
        ("/v1/drills", r#"{"id": "", "same_qdrant": true}"#, 400, "bad_request"),
        (
            "/v1/drills",
            r#"{"id": "NOTHING", "same_qdrant": true}"#,
            404,
            "backup_not_found",
        ),
        ("/v1/restores", r#"{"id": "../x"}"#, 400, "bad_request"),
        ("/v1/restores", r#"{"id": "NOTHING"}"#, 404, "backup_not_found"),
        (
            "/v1/restores",
            r#"{"id": "latest", "collections": ["nope"]}"#,
            404,
            "collection_not_found",
        ),
        ("/v1/restores", &in_it, 404, "collection_not_found"),
        (
            "/v1/restores",
            r#"{"id": "latest", "include": ["["]}"#,
            400,
            "bad_request",
        ),
        ("/v1/backups", r#"{"collection": "nope"}"#, 404, "collection_not_found"),
        ("/v1/backups", r#"{"include": ["["]}"#, 400, "bad_request"),
    ] {
        for path in [path.to_owned(), format!("{path}?wait=true")] {
            let answer = post(&service, &path, &body.replace("NOTHING", nothing)).await;
            let case = format!("{path} {body}: {} {}", answer.status, answer.body);
            assert_eq!((answer.status, &answer.body["code"]), (status, &json!(code)), "{case}");
            assert_eq!(answer.headers["content-type"], "application/problem+json", "{case}");
            assert!(answer.body["next_step"].is_string(), "{case}");
            assert!(answer.body.get("operation").is_none(), "{case}");
        }
    }
    let operations = service.get("/v1/operations").await.1;
    assert_eq!(operations["operations"].as_array().unwrap().len(), 1, "{operations}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collection_that_was_saved_before_and_is_gone_fails_as_a_backup_does() {
    let peer = Peer::start(&[("a", 1000), ("b", 1000)]).await;
    let service = Service::over(&peer.url).await;
    assert_eq!(post(&service, "/v1/backups?wait=true", "").await.status, 200);
    peer.lock().collections.remove("b");
    // Whoever saves it by a schedule has to be told, by everything that tells of failed backups.
    let begun = post(&service, "/v1/backups", r#"{"collection": "b"}"#).await;
    assert_eq!(begun.status, 202, "{}", begun.body);
    let end = super::ended(&service, &begun).await;
    assert_eq!(
        (&end["state"], &end["error"]["code"]),
        (&json!("failed"), &json!("collection_not_found")),
        "{end}"
    );
}

/// The requests that a text names.
fn requests(text: &str) -> impl Iterator<Item = &str> {
    let words = text.split([' ', '`', ',', ';']);
    words.filter(|word| word.starts_with('/') && word.len() > 1)
}

/// All the texts in a value.
fn texts<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
    match value {
        Value::String(text) => found.push(text),
        Value::Array(list) => list.iter().for_each(|value| texts(value, found)),
        Value::Object(fields) => fields.values().for_each(|value| texts(value, found)),
        _ => {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_error_below_v1_advises_is_below_v1_too() {
    let peer = Peer::start(&[("a", 1000)]).await;
    let service = Service::over(&peer.url).await;
    let none = service.send("GET", "/v1/backups/latest", &[], "").await;
    assert_eq!(post(&service, "/v1/backups?wait=true", "").await.status, 200);
    let mut answers = vec![none];
    for (method, path, body) in [
        ("GET", "/v1/backups/%FF", ""),
        ("GET", "/v1/backups?limit=0", ""),
        ("GET", "/v1/operations?limit=0", ""),
        ("GET", "/v1/operations/x", ""),
        ("POST", "/v1/backups", r#"{"include": ["nothing"], "dry_run": true}"#),
        ("POST", "/v1/backups", r#"{"collection": "nope", "dry_run": true}"#),
        ("POST", "/v1/restores", r#"{"id": "latest"}"#),
        ("POST", "/v1/restores", r#"{"id": "latest", "dry_run": true}"#),
        ("POST", "/v1/restores?wait=true", r#"{"id": "latest", "into": "{}-2"}"#),
        ("POST", "/v1/verifications", r#"{"id": "2020-01-01T00-00-00Z"}"#),
    ] {
        answers.push(service.send(method, path, &[], body).await);
    }
    let mut named = 0;
    for answer in &answers {
        let mut all = Vec::new();
        texts(&answer.body, &mut all);
        for text in all {
            for request in requests(text).filter(|request| !request.starts_with("/collections/")) {
                assert!(
                    request.starts_with("/v1/") || request.starts_with("//") || request.starts_with("/tmp"),
                    "{request} in {text:?} of {}",
                    answer.body
                );
                named += 1;
            }
        }
    }
    assert!(named >= 5, "{named}");
    let refused = &answers[8].body;
    assert_eq!(refused["code"], "restore_refused", "{refused}");
    assert!(
        refused["next_step"].as_str().unwrap().contains("POST /v1/restores {"),
        "{refused}"
    );
}
