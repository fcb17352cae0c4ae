//! Operations as resources: begun, looked at, cancelled, and told of to others and after a restart.

mod cancelled;
mod planted;
mod problems;

use serde_json::{Value, json};
use std::path::Path;
use testkit::peer::{Create, Fetch, Peer};
use testkit::process::{command, finish};
use testkit::service::{Answer, Service, Setup, answer};

/// `POST`, with the headers of the answer.
async fn post(service: &Service, path: &str, body: &str) -> Answer {
    answer(service.request(reqwest::Method::POST, path).body(body.to_owned())).await
}

/// The operation at the `Location` of an answer once it has ended.
async fn ended(service: &Service, begun: &Answer) -> Value {
    let at = begun.headers["location"].to_str().unwrap();
    loop {
        let operation = service.look(at).await.body;
        if operation["state"] != "running" {
            return operation;
        }
        tokio::task::yield_now().await;
    }
}

/// Waits for the record of the only run that says so.
async fn recorded(store: &Path, state: &str) -> Value {
    loop {
        if let [record] = &records(store)[..]
            && record["state"] == state
        {
            return record.clone();
        }
        tokio::task::yield_now().await;
    }
}

/// The records in the directory of a store.
fn records(store: &Path) -> Vec<Value> {
    let Ok(entries) = std::fs::read_dir(store.join("runs")) else {
        return Vec::new();
    };
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort_unstable();
    let read = |path| serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    paths.into_iter().map(read).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_kind_of_work_is_begun_with_202_and_can_be_looked_at_until_it_has_ended() {
    let peer = Peer::start(&[("a", 1000)]).await;
    let mut setup = Setup::over(&peer.url);
    setup.config.retention.policy.last = 1;
    let service = setup.start().await;
    let (mut last, mut kinds) = (String::new(), Vec::new());
    for (path, body, kind) in [
        ("/v1/backups", "{}", "backup"),
        ("/v1/verifications", r#"{"id": "latest"}"#, "verify"),
        ("/v1/restores", r#"{"id": "latest", "into": "{}-2"}"#, "restore"),
        ("/v1/drills", r#"{"id": "latest", "same_qdrant": true}"#, "drill"),
        ("/v1/prunes", "{}", "prune"),
    ] {
        let begun = post(&service, path, body).await;
        assert_eq!(begun.status, 202, "{path}: {}", begun.body);
        let id = begun.body["id"].as_str().unwrap();
        assert_eq!(begun.headers["location"], format!("/v1/operations/{id}"));
        assert_eq!(
            (&begun.body["kind"], &begun.body["here"], &begun.body["who"]),
            (&json!(kind), &json!(true), &json!("service under test"))
        );
        let operation = ended(&service, &begun).await;
        // The scripted peer's snapshots are none, so that only what does not look into them ends well.
        match kind {
            "backup" | "prune" => assert_eq!(operation["state"], "succeeded", "{operation}"),
            _ => assert_eq!(
                operation["state"] == "succeeded",
                operation["error"].is_null(),
                "{operation}"
            ),
        }
        assert!(
            operation["ended_at"].is_string() && operation["phase"].is_null(),
            "{operation}"
        );
        if kind == "backup" {
            last = operation["backup_id"].as_str().unwrap().to_owned();
            assert_eq!(operation["report"]["id"], last.as_str());
            assert_eq!(operation["units"][0]["phase"], "saved", "{operation}");
            assert_eq!(
                operation["progress"]["bytes_done"],
                operation["progress"]["bytes_total"]
            );
        }
        kinds.push(kind);
    }
    let (_, list) = service.get("/v1/operations").await;
    let listed: Vec<_> = list["operations"]
        .as_array()
        .unwrap()
        .iter()
        .map(|o| o["kind"].as_str().unwrap())
        .collect();
    assert_eq!(listed.len(), kinds.len(), "{list}");
    for operation in list["operations"].as_array().unwrap() {
        assert!(operation.get("units").is_none(), "{operation}");
    }
    assert_eq!(service.get(&format!("/v1/backups/{last}")).await.0, 200);
    assert_eq!(
        service.get("/v1/operations?limit=2").await.1["operations"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_may_wait_for_the_end_and_a_plan_begins_nothing() {
    let peer = Peer::start(&[("a", 1000), ("b", 1000)]).await;
    let service = Service::over(&peer.url).await;
    let made = post(&service, "/v1/backups?wait=true", "").await;
    assert_eq!(
        (made.status, &made.body["state"]),
        (200, &json!("succeeded")),
        "{}",
        made.body
    );
    assert_eq!(made.body["report"]["status"], "complete");
    peer.on_create("b", [Create::Forbidden]);
    let partial = post(&service, "/v1/backups?wait=true", "").await;
    assert_eq!(
        (partial.status, &partial.body["code"]),
        (500, &json!("backup_partial")),
        "{}",
        partial.body
    );
    assert_eq!(partial.body["report"]["failed"][0]["collection"], "b");
    let at = format!("/v1/operations/{}", partial.body["operation"].as_str().unwrap());
    let operation = service.look(&at).await.body;
    assert_eq!(
        (&operation["state"], &operation["error"]["code"]),
        (&json!("failed"), &json!("backup_partial"))
    );
    assert_eq!(operation["progress"]["failed"], 1, "{operation}");

    let count = service.get("/v1/operations").await.1["operations"]
        .as_array()
        .unwrap()
        .len();
    let plan = post(
        &service,
        "/v1/restores",
        r#"{"id": "latest", "into": "{}-2", "dry_run": true}"#,
    )
    .await;
    assert_eq!(
        (plan.status, &plan.body["dry_run"]),
        (200, &json!(true)),
        "{}",
        plan.body
    );
    assert!(plan.body["plan"]["collections"].is_array(), "{}", plan.body);
    assert_eq!(
        service.get("/v1/operations").await.1["operations"]
            .as_array()
            .unwrap()
            .len(),
        count
    );
    for wrong in ["/v1/backups?wait=maybe", "/v1/backups?dry_run=true"] {
        assert_eq!(post(&service, wrong, "").await.status, 400, "{wrong}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_trigger_finds_the_first_run() {
    let peer = Peer::start(&[("a", 100_000)]).await;
    peer.on_fetch("a", [Fetch::Stall(10)]);
    let service = Service::over(&peer.url).await;
    let keyed = async |body: &str| {
        let request = service
            .request(reqwest::Method::POST, "/v1/backups")
            .header("idempotency-key", "k");
        answer(request.body(body.to_owned())).await
    };
    let first = keyed("").await;
    assert_eq!(first.status, 202, "{}", first.body);
    let again = keyed("").await;
    assert_eq!(
        (again.status, &again.body["repeated"]),
        (202, &json!(true)),
        "{}",
        again.body
    );
    assert_eq!(again.headers["location"], first.headers["location"]);
    assert_eq!(
        keyed(r#"{"collection": "a"}"#).await.body["code"],
        "idempotency_key_reused"
    );
    // Another one, without the key, is told who is in the way.
    let other = post(&service, "/v1/backups", "").await;
    assert_eq!(
        (other.status, &other.body["code"]),
        (409, &json!("run_in_progress")),
        "{}",
        other.body
    );
    assert_eq!(other.body["held_by"]["who"], "service under test");

    let cancel = format!("{}:cancel", first.headers["location"].to_str().unwrap());
    assert_eq!(post(&service, &cancel, "").await.body["state"], "cancelled");
    // It left nothing, so that the next one with the key makes the backup.
    let next = keyed("").await;
    assert_eq!(next.status, 202, "{}", next.body);
    assert_ne!(next.headers["location"], first.headers["location"]);
    assert_eq!(ended(&service, &next).await["state"], "succeeded");
    let repeated = keyed("").await;
    assert_eq!(
        (repeated.status, &repeated.body["repeated"]),
        (200, &json!(true)),
        "{}",
        repeated.body
    );
    assert_eq!(repeated.headers["location"], next.headers["location"]);
    assert_eq!(repeated.body["report"]["id"], repeated.body["backup_id"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_tells_of_its_runs_too() {
    let peer = Peer::start(&[("a", 1000), ("b", 1000)]).await;
    let service = Service::over(&peer.url).await;
    let (code, _, err) = finish(command(&["backup", "a"], &peer.url, service.dir()).spawn().unwrap()).await;
    assert_eq!(code, Some(0), "{err}");
    let record = recorded(service.dir(), "succeeded").await;
    let (status, shown) = service
        .get(&format!("/v1/operations/{}", record["id"].as_str().unwrap()))
        .await;
    assert_eq!(
        (status, &shown["state"], &shown["here"], &shown["kind"]),
        (200, &json!("succeeded"), &json!(false), &json!("backup")),
        "{shown}"
    );
    assert_eq!(
        (&shown["backup_id"], &shown["who"]),
        (&record["backup"], &record["who"])
    );
    let unit = &shown["units"][0];
    assert_eq!(
        (&unit["name"], &unit["phase"]),
        (&json!("a"), &json!("saved")),
        "{shown}"
    );
    assert_eq!(
        (&unit["bytes_done"], shown["units"].as_array().unwrap().len()),
        (&unit["bytes_total"], 1)
    );
    assert!(
        shown.get("report").is_none() && shown["heartbeat_age_seconds"].is_null(),
        "{shown}"
    );
    let (_, list) = service.get("/v1/operations").await;
    assert_eq!(list["operations"][0]["id"], shown["id"], "{list}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_takes_no_records_costs_nothing_but_them() {
    let peer = Peer::start(&[("a", 1000)]).await;
    let service = Service::over(&peer.url).await;
    std::fs::write(service.dir().join("runs"), "no folder").unwrap();
    let made = post(&service, "/v1/backups?wait=true", "").await;
    assert_eq!(
        (made.status, &made.body["state"]),
        (200, &json!("succeeded")),
        "{}",
        made.body
    );
    let (status, list) = service.get("/v1/operations").await;
    assert_eq!(
        (status, list["operations"].as_array().unwrap().len()),
        (200, 1),
        "{list}"
    );
}
