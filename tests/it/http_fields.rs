//! The fields that the four routes of the first version answer. Clients of then are still out there: a field may be added to
//! `GET /status`, and none may go.

use serde_json::Value;
use std::collections::BTreeSet;
use std::sync::Arc;
use testkit::peer::{Create, Peer};
use testkit::service::Service;
use tokio::sync::Semaphore;

/// Every field of a value with the kind of what is in it, e.g. `collections[].name text`.
fn fields(value: &Value) -> BTreeSet<String> {
    fn collect(at: &str, value: &Value, found: &mut BTreeSet<String>) {
        let kind = match value {
            Value::Object(fields) if !fields.is_empty() => {
                let dot = if at.is_empty() { "" } else { "." };
                for (name, value) in fields {
                    collect(&format!("{at}{dot}{name}"), value, found);
                }
                return;
            }
            Value::Array(list) if !list.is_empty() => {
                return list.iter().for_each(|value| collect(&format!("{at}[]"), value, found));
            }
            Value::Object(_) => "{}",
            Value::Array(_) => "[]",
            Value::Null => "null",
            Value::Bool(_) => "bool",
            Value::Number(_) => "number",
            Value::String(_) => "text",
        };
        found.insert(format!("{at} {kind}"));
    }
    let mut found = BTreeSet::new();
    collect("", value, &mut found);
    found
}

#[track_caller]
pub(crate) fn has_exactly(answer: &Value, expected: &[&str]) {
    let expected: BTreeSet<_> = expected.iter().map(|field| (*field).to_owned()).collect();
    assert_eq!(fields(answer), expected, "{answer:#}");
}

const REPORT: &[&str] = &[
    "id text",
    "status text",
    "started_at text",
    "finished_at text",
    "manifest text",
    "collections[].name text",
    "collections[].points number",
    "collections[].bytes number",
    "failed []",
    "warnings []",
];

const ERROR: &[&str] = &[
    "error.code text",
    "error.message text",
    "error.remedy text",
    "request_id text",
];

const STATUS: &[&str] = &[
    "status text",
    "version text",
    "qdrant.ok bool",
    "qdrant.url text",
    "qdrant.version text",
    "qdrant.error null",
    "store.ok bool",
    "store.url text",
    "store.error null",
    "latest_good_backup text",
    "last_backup.id text",
    "last_backup.status text",
    "last_backup.selection {}",
    "last_backup.marks[] text",
    "last_backup.finished_at text",
    "last_backup.collections number",
    "last_backup.points number",
    "last_backup.bytes number",
    "last_backup.points_by_collection.docs number",
    "last_backup.verified null",
    "last_backup.drilled null",
    "last_backup.pinned null",
    "last_backup.age_seconds number",
];

#[tokio::test]
async fn health() {
    let peer = Peer::start(&[]).await;
    let service = Service::over(&peer.url).await;
    has_exactly(&service.get("/health").await.1, &["status text", "version text"]);
}

#[tokio::test]
async fn collections() {
    let peer = Peer::start(&[("docs", 1000)]).await;
    let service = Service::over(&peer.url).await;
    assert_eq!(service.post("/backup", "").await.0, 200);
    let mut all = vec![
        "collections[].name text",
        "collections[].status text",
        "collections[].points number",
        "collections[].backup_bytes number",
    ];
    has_exactly(&service.get("/collections").await.1, &all);
    peer.lock().collections.get_mut("docs").unwrap().broken = true;
    all.retain(|field| !field.contains("points"));
    all.extend([
        "collections[].points null",
        "collections[].error.code text",
        "collections[].error.message text",
        "collections[].error.remedy text",
    ]);
    has_exactly(&service.get("/collections").await.1, &all);
}

#[tokio::test]
async fn a_backup_of_all_of_some_and_of_none() {
    let peer = Peer::start(&[("docs", 1000), ("logs", 10)]).await;
    let service = Service::over(&peer.url).await;
    has_exactly(&service.post("/backup", "").await.1, REPORT);

    peer.on_create("logs", [Create::Forbidden]);
    let (status, answer) = service.post("/backup", "").await;
    assert_eq!(status, 500, "{answer}");
    let within_report: Vec<_> = REPORT.iter().map(|field| format!("report.{field}")).collect();
    let mut partial: Vec<_> = within_report
        .iter()
        .map(String::as_str)
        .chain(ERROR.iter().copied())
        .collect();
    partial.retain(|field| *field != "report.failed []");
    partial.extend([
        "report.failed[].collection text",
        "report.failed[].code text",
        "report.failed[].message text",
        "report.failed[].remedy text",
    ]);
    has_exactly(&answer, &partial);

    peer.on_create("logs", [Create::Forbidden]);
    let (status, answer) = service.post("/backup", r#"{"collection": "logs"}"#).await;
    assert_eq!(status, 500, "{answer}");
    partial.retain(|field| !field.starts_with("report.collections") && *field != "report.manifest text");
    partial.extend(["report.collections []", "report.manifest null"]);
    has_exactly(&answer, &partial);

    let (status, answer) = service.post("/backup", "[]").await;
    assert_eq!(status, 400, "{answer}");
    has_exactly(&answer, ERROR);
}

#[tokio::test]
async fn status_of_a_service_at_rest_at_work_and_without_its_qdrant() {
    let peer = Peer::start(&[("docs", 1000)]).await;
    let service = Arc::new(Service::over(&peer.url).await);
    assert_eq!(service.post("/backup", "").await.0, 200);
    let at_rest = [STATUS, &["running null", "operations []"]].concat();
    has_exactly(&service.get("/status").await.1, &at_rest);

    let (reached, go) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let held = Create::Held {
        reached: reached.clone(),
        go: go.clone(),
    };
    peer.on_create("docs", [held]);
    let first = service.clone();
    let first = tokio::spawn(async move { first.post("/backup", "").await });
    reached.acquire().await.unwrap().forget();
    let at_work = [
        STATUS,
        &[
            "running.who text",
            "running.since text",
            "running.progress.id text",
            "running.progress.started_at text",
            "running.progress.collections[].name text",
            "running.progress.collections[].phase text",
            "running.progress.collections[].bytes_done number",
            "running.progress.collections[].bytes_total null",
            "running.operation text",
            "operations[].operation text",
            "operations[].since text",
            "operations[].progress.id text",
            "operations[].progress.started_at text",
            "operations[].progress.collections[].name text",
            "operations[].progress.collections[].phase text",
            "operations[].progress.collections[].bytes_done number",
            "operations[].progress.collections[].bytes_total null",
        ],
    ]
    .concat();
    has_exactly(&service.get("/status").await.1, &at_work);
    let (status, refused) = service.post("/backup", "").await;
    assert_eq!(status, 409, "{refused}");
    has_exactly(&refused, &[ERROR, &["held_by.who text", "held_by.since text"]].concat());
    go.add_permits(1);
    assert_eq!(first.await.unwrap().0, 200);

    peer.lock().api_key = Some("k".into());
    let (status, answer) = service.get("/status").await;
    assert_eq!(status, 503, "{answer}");
    let mut degraded = at_rest.clone();
    degraded.retain(|field| *field != "qdrant.error null");
    degraded.extend([
        "qdrant.error.code text",
        "qdrant.error.message text",
        "qdrant.error.remedy text",
    ]);
    has_exactly(&answer, &degraded);
}
