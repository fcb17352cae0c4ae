//! `GET /metrics`: what it tells, who may read it, how often it asks; and that the rules, the dashboard and the documents name what
//! there is.

use qdrant_backup::repository::lease;
use serde_json::json;
use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;
use testkit::peer::{Create, Peer};
use testkit::service::{Service, Setup};
use tokio::sync::Semaphore;

const PREFIX: &str = "qdrant_backup_";

/// Longer than a look is good for.
const LATER: Duration = Duration::from_secs(61);
/// Longer than a count of the bytes is.
const MUCH_LATER: Duration = Duration::from_secs(3601);

/// What a scraper gets.
struct Scraped(String);

impl Scraped {
    async fn from(service: &Service) -> Self {
        let answer = service
            .http
            .get(format!("{}/metrics", service.url))
            .send()
            .await
            .unwrap();
        let (status, kind) = (answer.status(), answer.headers()["content-type"].clone());
        let text = answer.text().await.unwrap();
        assert_eq!(status, 200, "{text}");
        assert_eq!(kind, "text/plain; version=0.0.4; charset=utf-8");
        Self(text)
    }

    /// The value of a sample; none where there is no such one.
    fn get(&self, name: &str) -> Option<i64> {
        let start = format!("{PREFIX}{name} ");
        let value = self.0.lines().find_map(|line| line.strip_prefix(&start))?;
        Some(value.parse().unwrap())
    }

    /// The names of all metrics.
    fn names(&self) -> BTreeSet<String> {
        let typed = self.0.lines().filter_map(|line| line.strip_prefix("# TYPE "));
        typed.map(|line| line.split(' ').next().unwrap().to_owned()).collect()
    }
}

/// Holds the next snapshot of `collection` on Qdrant.
fn hold(peer: &Peer, collection: &str) -> (Arc<Semaphore>, Arc<Semaphore>) {
    let (reached, go) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let held = Create::Held {
        reached: reached.clone(),
        go: go.clone(),
    };
    peer.on_create(collection, [held]);
    (reached, go)
}

/// Bytes of all files below a folder.
fn bytes(folder: &Path) -> i64 {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    let size = |entry: std::fs::DirEntry| match entry.file_type().unwrap().is_dir() {
        true => bytes(&entry.path()),
        false => i64::try_from(entry.metadata().unwrap().len()).unwrap(),
    };
    entries.map(size).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn backups_that_left_nothing_are_failures_of_what_they_were_to_save() {
    let peer = Peer::start(&[("docs", 1000), ("logs", 10)]).await;
    let service = Service::over(&peer.url).await;
    let failures = async || {
        service.hands.pass(LATER);
        let scraped = Scraped::from(&service).await;
        ["docs", "logs"].map(|name| {
            let sample = format!("failures_since_success{{collection=\"{name}\"}}");
            scraped.get(&sample).unwrap()
        })
    };
    assert_eq!(service.backup("{}").await.status, 200);
    assert_eq!(failures().await, [0, 0]);
    // Failed with a plan, and before there was one.
    peer.on_create("docs", [Create::Forbidden]);
    assert_ne!(service.backup(r#"{"collection": "docs"}"#).await.status, 200);
    assert_eq!(failures().await, [1, 0]);
    peer.lock().api_key = Some("another".into());
    assert_eq!(service.backup("{}").await.status, 502);
    peer.lock().api_key = None;
    assert_eq!(failures().await, [2, 1]);
    // A mistaken name is nobody's failure.
    assert_eq!(service.backup(r#"{"collection": "dosc"}"#).await.status, 404);
    assert_eq!(failures().await, [2, 1]);
    assert_eq!(service.backup(r#"{"collection": "logs"}"#).await.status, 200);
    assert_eq!(failures().await, [2, 0]);
    assert_eq!(service.backup("{}").await.status, 200);
    assert_eq!(failures().await, [0, 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_tells_of_each_collection_what_the_store_has() {
    let peer = Peer::start(&[("docs", 1000), ("logs", 10)]).await;
    let service = Service::over(&peer.url).await;
    let none = Scraped::from(&service).await;
    for (name, value) in [
        ("qdrant_up", Some(1)),
        ("collections", Some(2)),
        ("stored_bytes", Some(0)),
        ("lease_held", Some(0)),
        ("last_duration_seconds", None),
        ("last_success_timestamp_seconds{collection=\"docs\"}", Some(0)),
        (
            "last_proof_timestamp_seconds{collection=\"docs\",level=\"drilled\"}",
            Some(0),
        ),
        ("failures_since_success{collection=\"docs\"}", Some(0)),
        ("last_size_bytes{collection=\"docs\"}", None),
    ] {
        assert_eq!(none.get(name), value, "{name}: {}", none.0);
    }

    peer.on_create("logs", [Create::Forbidden]);
    assert_eq!(service.backup("{}").await.status, 500);
    service.hands.pass(LATER);
    let partial = Scraped::from(&service).await;
    assert_eq!(partial.get("status_protected"), Some(0));
    assert_eq!(partial.get("failures_since_success{collection=\"docs\"}"), Some(1));
    assert_eq!(
        partial.get("last_success_timestamp_seconds{collection=\"docs\"}"),
        Some(0)
    );

    let before = service.hands.now().unix_timestamp();
    let made = service.backup("{}").await;
    assert_eq!(made.status, 200, "{}", made.body);
    let id = made.body["id"].as_str().unwrap();
    let verified = service.dir().join("backups").join(id).join("verified.json");
    std::fs::write(verified, json!({"verdict": "intact"}).to_string()).unwrap();
    service.hands.pass(MUCH_LATER);
    let good = Scraped::from(&service).await;
    for collection in ["docs", "logs"] {
        let of = |name: &str| good.get(&format!("{name}{{collection=\"{collection}\"}}"));
        let proof = |level: &str| {
            good.get(&format!(
                "last_proof_timestamp_seconds{{collection=\"{collection}\",level=\"{level}\"}}"
            ))
        };
        let saved = of("last_success_timestamp_seconds").unwrap();
        assert!(saved >= before, "{}", good.0);
        assert_eq!((proof("stored"), proof("verified")), (Some(saved), Some(saved)));
        assert_eq!((proof("opened"), proof("drilled")), (Some(0), Some(0)));
        assert_eq!((of("failures_since_success"), of("protected")), (Some(0), Some(1)));
        assert!(of("last_size_bytes").unwrap() > 0, "{}", good.0);
    }
    assert_eq!(good.get("status_protected"), Some(1));
    assert!(good.get("last_duration_seconds").is_some(), "{}", good.0);
    assert_eq!(good.get("stored_bytes"), Some(bytes(&service.dir().join("backups"))));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_works_is_told_at_once_and_the_rest_is_asked_once_a_minute() {
    let peer = Peer::start(&[("docs", 1000)]).await;
    let service = Service::over(&peer.url).await;
    let asked = Scraped::from(&service).await.get("status_timestamp_seconds");
    let looks = peer.requests("/collections");
    let (reached, go) = hold(&peer, "docs");
    let backup = tokio::spawn({
        let (http, url) = (service.http.clone(), service.url.clone());
        async move { http.post(format!("{url}/backup")).send().await.unwrap().status() }
    });
    reached.acquire().await.unwrap().forget();
    let during = peer.requests("/collections");
    let at_work = Scraped::from(&service).await;
    for (name, value) in [
        ("lease_held", 1),
        ("operation_in_progress{kind=\"backup\"}", 1),
        ("operation_in_progress{kind=\"restore\"}", 0),
    ] {
        assert_eq!(at_work.get(name), Some(value), "{name}: {}", at_work.0);
    }
    assert_eq!(at_work.get("status_timestamp_seconds"), asked, "the same look");
    assert_eq!(peer.requests("/collections"), during, "nobody was asked");
    go.add_permits(1);
    assert_eq!(backup.await.unwrap(), 200);
    assert!(looks > 0);

    service.hands.pass(LATER);
    let later = Scraped::from(&service).await;
    assert!(later.get("status_timestamp_seconds") > asked, "{}", later.0);
    assert_eq!(later.get("lease_held"), Some(0));
    assert_eq!(later.get("operation_in_progress{kind=\"backup\"}"), Some(0));

    // That of another process counts as well.
    let held = lease::acquire(
        service.store().await,
        &service.hands.clock(),
        "other",
        Duration::from_secs(60),
    )
    .await
    .unwrap();
    let other = Scraped::from(&service).await;
    assert_eq!(
        (
            other.get("lease_held"),
            other.get("operation_in_progress{kind=\"backup\"}")
        ),
        (Some(1), Some(0))
    );
    held.release().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn without_qdrant_the_last_backup_tells_and_without_the_store_nothing_is_told() {
    let peer = Peer::start(&[("docs", 1000)]).await;
    let service = Service::over(&peer.url).await;
    assert_eq!(service.backup("{}").await.status, 200);
    peer.lock().api_key = Some("another".into());
    let blind = Scraped::from(&service).await;
    assert_eq!((blind.get("qdrant_up"), blind.get("collections")), (Some(0), Some(1)));
    assert_eq!(blind.get("protected{collection=\"docs\"}"), Some(1));
    std::fs::remove_dir_all(service.dir()).unwrap();
    service.hands.pass(LATER);
    let lost = service.look("/metrics").await;
    assert_eq!(lost.result(), (502, "store_missing"), "no old value that looks new");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scraper_needs_the_role_reader() {
    const TOKEN: &str = "scraper-0123456789-abcdefghijklmnop";
    let peer = Peer::start(&[("docs", 1000)]).await;
    let dir = tempfile::tempdir().unwrap();
    let tokens = dir.path().join("tokens");
    std::fs::write(&tokens, format!("reader prometheus {TOKEN}\n")).unwrap();
    let store = tempfile::tempdir().unwrap();
    let service = Setup::from_env(&[
        ("QDRANT_URL", &peer.url),
        (
            "BACKUP_STORE",
            url::Url::from_directory_path(store.path()).unwrap().as_str(),
        ),
        ("AUTH_MODE", "token"),
        ("AUTH_TOKEN_FILE", tokens.to_str().unwrap()),
    ])
    .start()
    .await;
    let ask = async |token: &str| {
        let url = format!("{}/metrics", service.url);
        service.http.get(url).bearer_auth(token).send().await.unwrap().status()
    };
    assert_eq!(service.look("/metrics").await.status, 401);
    assert_eq!(ask(&TOKEN.replace("scraper", "another")).await, 401);
    assert_eq!(ask(TOKEN).await, 200);
}

/// All words of a text that look like a name of ours.
fn named(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let metrics = words.filter(|word| word.starts_with(PREFIX));
    metrics.map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_dashboard_and_documents_name_metrics_that_there_are() {
    let peer = Peer::start(&[("docs", 10)]).await;
    let service = Service::over(&peer.url).await;
    assert_eq!(service.backup("{}").await.status, 200);
    let scraped = Scraped::from(&service).await;
    let there = scraped.names();
    assert!(there.len() > 10, "{there:?}");

    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |path: &str| std::fs::read_to_string(root.join(path)).unwrap();
    let dashboard: serde_json::Value = serde_json::from_str(&read("deploy/grafana/dashboard.json")).unwrap();
    let mut queries = Vec::new();
    fn collect(value: &serde_json::Value, queries: &mut Vec<String>) {
        match value {
            serde_json::Value::Object(fields) => fields.iter().for_each(|(name, value)| match (name.as_str(), value) {
                ("expr" | "query", serde_json::Value::String(text)) => queries.push(text.clone()),
                _ => collect(value, queries),
            }),
            serde_json::Value::Array(values) => values.iter().for_each(|value| collect(value, queries)),
            _ => {}
        }
    }
    collect(&dashboard, &mut queries);
    assert!(queries.len() >= 8, "{queries:?}");
    for (place, text) in [
        ("the dashboard", queries.join("\n")),
        ("the rules", read("deploy/prometheus/alerts.yaml")),
        ("their tests", read("deploy/prometheus/alerts_test.yaml")),
        ("docs", read("docs/how-to/alert-with-prometheus.md")),
        ("docs/zh-TW", read("docs/zh-TW/alert-with-prometheus.md")),
        ("docs of a VM", read("docs/how-to/run-on-a-vm.md")),
    ] {
        let unknown: Vec<_> = named(&text).difference(&there).cloned().collect();
        assert_eq!(unknown, [""; 0], "{place}");
    }
    // The reference has each of them, and no other.
    for page in ["docs/reference/metrics.md", "docs/zh-TW/metrics.md"] {
        let page = read(page);
        let rows = page.lines().filter_map(|line| line.strip_prefix("| `"));
        let listed: BTreeSet<_> = rows
            .map(|row| format!("{PREFIX}{}", row.split(['`', '{']).next().unwrap()))
            .collect();
        assert_eq!(listed, there);
    }
    lint(&scraped.0);
}

/// Prometheus' own opinion, where it is there; `PROMTOOL=required` makes it a failure that it is not.
fn lint(text: &str) {
    let started = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut promtool = match started {
        Ok(promtool) => promtool,
        Err(error) => {
            assert!(std::env::var_os("PROMTOOL").is_none(), "promtool: {error}");
            return;
        }
    };
    promtool.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let end = promtool.wait_with_output().unwrap();
    let said = [end.stdout, end.stderr].concat();
    assert!(
        end.status.success() && said.is_empty(),
        "{}",
        String::from_utf8_lossy(&said)
    );
}
