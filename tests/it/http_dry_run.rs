//! Words and remedies of the API: a plan of a backup, remedies in the form of the one who asks, and whose mistake a refusal is.

use serde_json::json;
use testkit::peer::Peer;
use testkit::service::Service;

#[tokio::test]
async fn a_backup_is_planned_over_http_as_on_the_command_line() {
    let peer = Peer::start(&[("docs", 1000), ("logs", 10)]).await;
    let service = Service::over(&peer.url).await;
    let (status, plan) = service
        .post("/backup", r#"{"collection": "docs", "dry_run": true}"#)
        .await;
    assert_eq!(status, 200, "{plan}");
    assert_eq!(plan["dry_run"], true);
    assert_eq!(plan["units"], json!([{"collection": "docs", "mode": "file"}]));
    assert!(
        plan["qdrant"].is_string() && plan["warnings"].is_array() && plan["nodes"].is_array(),
        "{plan}"
    );
    let (_, list) = service.get("/backups").await;
    assert_eq!(
        (&list["backups"], peer.requests("/snapshots")),
        (&json!([]), 0),
        "nothing was made"
    );
    let (status, error) = service
        .post("/backup", r#"{"collection": "nope", "dry_run": true}"#)
        .await;
    assert_eq!((status, &error["error"]["code"]), (404, &json!("collection_not_found")));
    assert_eq!(
        error["error"]["remedy"],
        "send GET /v1/collections to see the collections"
    );
    let (status, _) = service.post("/backup", r#"{"dry_run": 1}"#).await;
    assert_eq!(status, 400);
}

#[tokio::test]
async fn a_remedy_has_the_form_of_the_one_who_asks() {
    let peer = Peer::start(&[("docs", 1000)]).await;
    let service = Service::over(&peer.url).await;
    assert_eq!(service.post("/backup", "{}").await.0, 200);
    let (status, error) = service.post("/backups/latest/drill", "{}").await;
    let remedy = error["error"]["remedy"].as_str().unwrap();
    assert_eq!((status, &error["error"]["code"]), (409, &json!("restore_refused")));
    assert!(
        remedy.contains("{\"same_qdrant\": true}") && !remedy.contains("--"),
        "{remedy}"
    );
    let args = ["drill", "latest"];
    let child = testkit::process::command(&args, &peer.url, service.dir())
        .spawn()
        .unwrap();
    let (_, _, err) = testkit::process::finish(child).await;
    assert!(
        err.contains("--same-qdrant") && !err.contains("{\"same_qdrant"),
        "{err}"
    );
}
