//! Operations as resources: begun, looked at, cancelled, and told of to others and after a restart.

mod cancelled;
mod deleted;
mod keys;
mod mistakes;
mod planted;
mod problems;

use serde_json::{Value, json};
use std::path::Path;
use std::time::Duration;
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
    setup.config.retention.policy.min_age = Duration::ZERO;
    let service = setup.start().await;
    let (mut first, mut kinds) = (String::new(), Vec::new());
    for (path, body, kind) in [
        ("/v1/backups", "{}", "backup"),
        ("/v1/restores", r#"{"id": "latest", "into": "{}-2"}"#, "restore"),
        ("/v1/drills", r#"{"id": "latest", "same_qdrant": true}"#, "drill"),
        ("/v1/backups", "", "backup"),
        ("/v1/verifications", r#"{"id": "FIRST"}"#, "verify"),
        ("/v1/prunes", r#"{"dry_run": false}"#, "prune"),
    ] {
        let begun = post(&service, path, &body.replace("FIRST", &first)).await;
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
        let progress = &operation["progress"];
        match kind {
            "backup" => {
                let id = operation["backup_id"].as_str().unwrap();
                assert_eq!(operation["report"]["id"], id);
                assert_eq!(operation["units"][0]["phase"], "saved", "{operation}");
                assert_eq!(progress["bytes_done"], progress["bytes_total"]);
                if first.is_empty() {
                    first = id.to_owned();
                }
            }
            "verify" => {
                assert_eq!(operation["error"]["code"], "backup_damaged", "{operation}");
                assert_eq!(operation["units"][0]["phase"], "failed", "{operation}");
                assert_eq!(
                    (&progress["units"], &progress["failed"], &progress["bytes_done"]),
                    (&json!(1), &json!(1), &progress["bytes_total"])
                );
                assert_eq!(
                    (&operation["backup_id"], &progress["part"]),
                    (&json!(first), &json!(1.0))
                );
            }
            "prune" => assert_eq!(operation["report"]["deleted"][0]["id"], first.as_str(), "{operation}"),
            _ => {}
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
    assert_eq!(service.get(&format!("/v1/backups/{first}")).await.0, 404);
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
    let mut setup = Setup::over(&peer.url);
    setup.config.retention.policy.last = 1;
    let service = setup.start().await;
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
    for (path, body, list) in [
        ("/v1/backups", r#"{"dry_run": true}"#, "units"),
        (
            "/v1/restores",
            r#"{"id": "latest", "into": "{}-2", "dry_run": true}"#,
            "collections",
        ),
        // Whoever wants something deleted has to say so.
        ("/v1/prunes", "", "items"),
        ("/v1/prunes", "{}", "items"),
    ] {
        let plan = post(&service, path, body).await;
        let case = format!("{path} {body}: {}", plan.body);
        assert_eq!((plan.status, &plan.body["dry_run"]), (200, &json!(true)), "{case}");
        assert!(
            plan.body["plan"][list].as_array().is_some_and(|list| !list.is_empty()),
            "{case}"
        );
        assert!(plan.body["plan"].get("dry_run").is_none(), "{case}");
    }
    assert_eq!(
        service.get("/v1/operations").await.1["operations"]
            .as_array()
            .unwrap()
            .len(),
        count
    );
    // Of which nothing is young enough to go.
    let nothing = post(&service, "/v1/prunes", r#"{"dry_run": false}"#).await;
    assert_eq!(
        (
            nothing.status,
            &nothing.body["state"],
            &nothing.body["report"]["planned"]
        ),
        (200, &json!("succeeded"), &json!(0)),
        "{}",
        nothing.body
    );
    for wrong in ["/v1/backups?wait=maybe", "/v1/backups?dry_run=true"] {
        assert_eq!(post(&service, wrong, "").await.status, 400, "{wrong}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_trigger_finds_the_first_run() {
    let peer = Peer::start(&[("a", 100_000)]).await;
    peer.on_fetch("a", [Fetch::Stall(10)]);
    let dir = tempfile::tempdir().unwrap();
    let store = url::Url::from_directory_path(dir.path()).unwrap();
    let instance = async || {
        let env = [
            ("QDRANT_URL", peer.url.as_str()),
            ("BACKUP_STORE", store.as_str()),
            ("RETAIN_LAST", "1"),
        ];
        Service::start(&env).await
    };
    let (service, elsewhere) = (instance().await, instance().await);
    let keyed_to = async |service: &Service, body: &str| {
        let request = service
            .request(reqwest::Method::POST, "/v1/backups")
            .header("idempotency-key", "k");
        answer(request.body(body.to_owned())).await
    };
    let keyed = async |body: &str| keyed_to(&service, body).await;
    let first = keyed("").await;
    assert_eq!(first.status, 202, "{}", first.body);
    for (instance, is_here) in [(&service, true), (&elsewhere, false)] {
        let again = keyed_to(instance, "").await;
        assert_eq!(
            (again.status, &again.body["repeated"], &again.body["here"]),
            (202, &json!(true), &json!(is_here)),
            "{}",
            again.body
        );
        assert_eq!(again.headers["location"], first.headers["location"]);
    }
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

    // What was refused is no operation.
    for instance in [&service, &elsewhere] {
        let listed = instance.get("/v1/operations").await.1;
        assert_eq!(listed["operations"].as_array().unwrap().len(), 1, "{listed}");
    }
    assert!(other.body.get("operation").is_none(), "{}", other.body);

    let cancel = format!("{}:cancel", first.headers["location"].to_str().unwrap());
    assert_eq!(post(&service, &cancel, "").await.body["state"], "cancelled");
    // Somebody has decided that this one is not to be made: another has a key of its own.
    for instance in [&service, &elsewhere] {
        let again = keyed_to(instance, "").await;
        assert_eq!(
            (again.status, &again.body["repeated"], &again.body["state"]),
            (200, &json!(true), &json!("cancelled")),
            "{}",
            again.body
        );
        assert_eq!(again.headers["location"], first.headers["location"]);
    }
    let keyed = async |body: &str| {
        let request = service
            .request(reqwest::Method::POST, "/v1/backups")
            .header("idempotency-key", "k2");
        answer(request.body(body.to_owned())).await
    };
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

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_that_a_drill_has_to_prove_first_says_so_to_everybody() {
    let peer = crate::stream_mode::peer().await;
    peer.with("a", |a| a.optimizing = usize::MAX);
    let dir = tempfile::tempdir().unwrap();
    let store = url::Url::from_directory_path(dir.path()).unwrap();
    let env = [
        ("QDRANT_URL", peer.url.as_str()),
        ("BACKUP_STORE", store.as_str()),
        ("SNAPSHOT_MODE", "stream"),
        ("BACKUP_SETTLE_TIMEOUT_SECS", "0"),
    ];
    let (service, elsewhere) = (Service::start(&env).await, Service::start(&env).await);
    let request = service.request(reqwest::Method::POST, "/v1/backups?wait=true");
    let made = answer(request.header("idempotency-key", "k")).await;
    assert_eq!(
        (made.status, &made.body["state"], &made.body["report"]["unproven"]),
        (200, &json!("succeeded"), &json!(["a"])),
        "{}",
        made.body
    );
    let at = made.headers["location"].to_str().unwrap();
    for shown in [
        &made.body,
        &service.get(at).await.1,
        &elsewhere.get(at).await.1,
        &elsewhere.get("/v1/operations").await.1["operations"][0],
    ] {
        assert_eq!(
            (&shown["state"], &shown["unproven"]),
            (&json!("succeeded"), &json!(true)),
            "{shown}"
        );
    }
    peer.with("a", |a| a.optimizing = 0);
    let good = post(&service, "/v1/backups?wait=true", "").await;
    assert_eq!((good.status, good.body.get("unproven")), (200, None), "{}", good.body);
}
