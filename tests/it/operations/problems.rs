//! Errors below `/v1` are problems, whoever tells them; those of the old routes keep their form.

use super::post;
use serde_json::json;
use testkit::peer::Peer;
use testkit::service::Service;

#[tokio::test(flavor = "multi_thread")]
async fn what_may_be_done_to_an_operation_is_told_for_its_address_and_its_cancel() {
    let service = Service::over(&Peer::start(&[]).await.url).await;
    let one = "/v1/operations/2026-11-01T00-00-00Z-backup-00000000";
    for (path, allowed) in [(one, "GET,HEAD"), (&format!("{one}:cancel"), "POST")] {
        let answer = service.send("OPTIONS", path, &[], "").await;
        assert_eq!(
            (answer.status, &answer.headers["allow"]),
            (405, &allowed.parse().unwrap()),
            "{path}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_error_below_v1_is_a_problem_with_what_to_do() {
    let peer = Peer::start(&[("a", 1000)]).await;
    let service = Service::over(&peer.url).await;
    let long = "x".repeat(70_000);
    let unknown = "/v1/operations/2026-11-01T00-00-00Z-backup-00000000";
    for (method, path, body, status, code) in [
        ("GET", "/v1", "", 404, "not_found"),
        ("GET", "/v1/nothing", "", 404, "not_found"),
        ("POST", &format!("{unknown}:explode"), "", 404, "not_found"),
        ("GET", unknown, "", 404, "operation_not_found"),
        ("GET", "/v1/operations/x", "", 404, "operation_not_found"),
        ("POST", &format!("{unknown}:cancel"), "", 404, "operation_not_found"),
        ("POST", &format!("{unknown}:cancel"), r#"{"x": 1}"#, 400, "bad_request"),
        ("POST", &format!("{unknown}:cancel"), " ", 400, "bad_request"),
        (
            "POST",
            "/v1/backups",
            r#"{"include": ["nothing"], "dry_run": true}"#,
            404,
            "collection_not_found",
        ),
        ("OPTIONS", unknown, "", 405, "method_not_allowed"),
        ("DELETE", "/v1/backups", "", 405, "method_not_allowed"),
        ("POST", unknown, "", 405, "method_not_allowed"),
        ("GET", &format!("{unknown}:cancel"), "", 405, "method_not_allowed"),
        ("POST", "/v1/backups", "[]", 400, "bad_request"),
        ("POST", "/v1/restores", "", 400, "bad_request"),
        ("POST", "/v1/backups", &long, 413, "body_too_large"),
        ("GET", "/v1/backups?limit=0", "", 400, "bad_request"),
        ("GET", "/v1/operations?limit=101", "", 400, "bad_request"),
        ("GET", "/v1/backups/latest", "", 404, "backup_not_found"),
        ("GET", "/v1/backups/%FF", "", 400, "bad_request"),
        (
            "POST",
            "/v1/verifications",
            r#"{"id": "latest"}"#,
            404,
            "backup_not_found",
        ),
        (
            "POST",
            "/v1/restores",
            r#"{"id": "latest", "dry_run": true}"#,
            404,
            "backup_not_found",
        ),
        ("POST", "/v1/drills", r#"{"id": "latest"}"#, 409, "restore_refused"),
    ] {
        let answer = service.send(method, path, &[], body).await;
        let case = format!("{method} {path}: {} {}", answer.status, answer.body);
        assert_eq!((answer.status, &answer.body["code"]), (status, &json!(code)), "{case}");
        assert_eq!(answer.headers["content-type"], "application/problem+json", "{case}");
        assert_eq!(answer.body["status"], status, "{case}");
        for text in ["title", "detail", "next_step", "request_id"] {
            assert!(
                answer.body[text].as_str().is_some_and(|text| !text.is_empty()),
                "{text} in {case}"
            );
        }
        assert!(answer.body.get("error").is_none(), "{case}");
        assert_eq!(answer.headers.contains_key("allow"), status == 405, "{case}");
    }
    let old = service.send("DELETE", "/backup", &[], "").await;
    assert_eq!(old.result(), (405, "method_not_allowed"));
    assert_eq!(old.headers["content-type"], "application/json");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_only_looks_answers_as_the_old_routes_do() {
    let peer = Peer::start(&[("a", 1000)]).await;
    let service = Service::over(&peer.url).await;
    let made = post(&service, "/v1/backups?wait=true", "").await;
    let id = made.body["backup_id"].as_str().unwrap();
    for path in ["/collections", "/backups?limit=3", &format!("/backups/{id}")] {
        let (old, new) = (service.get(path).await, service.get(&format!("/v1{path}")).await);
        assert_eq!((old.0, &old.1["collections"]), (new.0, &new.1["collections"]), "{path}");
    }
    assert_eq!(service.get("/v1/status").await.1["status"], "ok");
    let pin = format!("/v1/backups/{id}/pin");
    assert_eq!(service.put(&pin, "").await.0, 200);
    assert_eq!(service.delete(&pin).await.1["was_pinned"], true);
}
