//! `status`: what it shows, and that it says yes only where the watch over HTTP would.

use crate::told::offers;
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use tempfile::TempDir;
use testkit::peer::{Create, Peer};
use testkit::process::{command, finish};
use testkit::service::Service;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// A peer, and a store that is its own.
struct Bench {
    peer: Peer,
    dir: TempDir,
}

impl Bench {
    async fn new(collections: &[(&str, usize)]) -> Self {
        Self {
            peer: Peer::start(collections).await,
            dir: tempfile::tempdir().unwrap(),
        }
    }

    async fn run(&self, args: &[&str]) -> (i32, String, String) {
        let child = command(args, &self.peer.url, self.dir.path()).spawn().unwrap();
        let (code, out, err) = finish(child).await;
        (code.unwrap(), out, err)
    }

    async fn backup(&self, collections: &[&str]) {
        let (code, out, err) = self.run(&[&["backup"], collections].concat()).await;
        assert_eq!(code, 0, "{out}{err}");
    }

    /// The exit code, and of each collection name, state and proof, as they are listed.
    async fn status(&self, args: &[&str]) -> (i32, Value) {
        let (code, report) = self.report(args).await;
        let of = |row: &Value| json!([row["name"], row["state"], row["proof"]]);
        (code, report["collections"].as_array().unwrap().iter().map(of).collect())
    }

    async fn report(&self, args: &[&str]) -> (i32, Value) {
        let (code, out, err) = self.run(&[&["status", "--json"], args].concat()).await;
        let report: Value = serde_json::from_str(&out).unwrap_or_else(|_| panic!("{out}{err}"));
        assert_eq!(report["protected"], code == 0, "{report}");
        (code, report)
    }

    fn newest(&self) -> PathBuf {
        let folders = std::fs::read_dir(self.dir.path().join("backups")).unwrap();
        folders.map(|folder| folder.unwrap().path()).max().unwrap()
    }

    /// Puts a record beside the newest backup.
    fn record(&self, name: &str, verdict: &str) {
        std::fs::write(self.newest().join(name), json!({"verdict": verdict}).to_string()).unwrap();
    }

    /// Makes the newest backup's state of a collection older.
    fn age(&self, collection: &str, hours: i64) {
        let path = self.newest().join("manifest.json");
        let mut manifest: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        let at = OffsetDateTime::now_utc() - time::Duration::hours(hours);
        for entry in manifest["collections"].as_array_mut().unwrap() {
            if entry["name"] == collection {
                entry["artifacts"][0]["requested_at"] = at.format(&Rfc3339).unwrap().into();
            }
        }
        std::fs::write(path, manifest.to_string()).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_says_yes_only_when_every_collection_has_a_good_young_backup() {
    let bench = Bench::new(&[("docs", 1000), ("logs", 10)]).await;
    let missing = json!([["docs", "missing", null], ["logs", "missing", null]]);
    assert_eq!(bench.status(&[]).await, (1, missing));
    bench.backup(&["docs"]).await;
    let half = json!([["logs", "missing", null], ["docs", "fresh", "stored"]]);
    assert_eq!(bench.status(&[]).await, (1, half.clone()), "the worst comes first");
    bench.peer.on_create("logs", [Create::Forbidden]);
    assert_eq!(bench.run(&["backup"]).await.0, 3);
    assert_eq!(bench.status(&[]).await, (1, half), "a partial backup is no good one");

    bench.backup(&[]).await;
    assert_eq!(bench.status(&[]).await.0, 0);
    bench.age("logs", 27);
    let stale = json!([["logs", "stale", "stored"], ["docs", "fresh", "stored"]]);
    assert_eq!(bench.status(&[]).await, (1, stale));
    assert_eq!(bench.status(&["--max-age", "30h"]).await.0, 0);

    // The watch over HTTP says the same of each.
    let env = [
        ("QDRANT_URL", bench.peer.url.as_str()),
        ("BACKUP_STORE", &format!("file://{}", bench.dir.path().display())),
    ];
    let service = Service::start(&env).await;
    let (status, watch) = service.get("/health/freshness").await;
    let (_, report) = bench.report(&[]).await;
    assert_eq!((status, &watch["max_age_seconds"]), (503, &report["max_age_seconds"]));
    for row in watch["collections"].as_array().unwrap() {
        let rows = report["collections"].as_array().unwrap();
        let own = rows.iter().find(|own| own["name"] == row["name"]).unwrap();
        assert_eq!((&own["state"], &own["backup"]), (&row["state"], &row["backup"]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_tells_how_each_collection_is_proven() {
    let bench = Bench::new(&[("docs", 1000), ("logs", 10)]).await;
    bench.backup(&[]).await;
    bench.record("verified.json", "intact");
    let (code, report) = bench.report(&[]).await;
    let docs = &report["collections"][0];
    assert_eq!(
        (code, &docs["proof"], &docs["drilled"]),
        (0, &json!("verified"), &Value::Null)
    );
    bench.record("drilled.json", "passed");
    bench.backup(&["logs"]).await;
    let (code, report) = bench.report(&[]).await;
    let [logs, docs] = &report["collections"].as_array().unwrap()[..] else {
        panic!("{report}");
    };
    assert_eq!(
        (code, &logs["proof"], &docs["proof"]),
        (0, &json!("stored"), &json!("drilled"))
    );
    assert_ne!(
        logs["backup"], logs["drilled"]["backup"],
        "the older one is proven: {report}"
    );
    assert_eq!(docs["backup"], logs["drilled"]["backup"]);
    // What is found damaged counts no more.
    bench.record("verified.json", "damaged");
    let (code, report) = bench.report(&[]).await;
    assert_eq!(
        (code, &report["collections"][0]["backup"]),
        (0, &docs["backup"]),
        "{report}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_screen_tells_the_worst_first_and_fits() {
    let names: Vec<String> = (0..30).map(|i| format!("collection-with-a-long-name-{i:02}")).collect();
    let all: Vec<_> = names.iter().map(|name| (name.as_str(), 10)).collect();
    let bench = Bench::new(&all).await;
    bench.backup(&["--exclude", "*-29"]).await;
    bench.age(&names[7], 50);
    let (code, out, err) = bench.run(&["status"]).await;
    assert_eq!((code, err.as_str()), (1, ""), "{out}");
    assert!(out.lines().next().unwrap().contains("2 of 30"), "{out}");
    assert!(offers(&out, &["backup"]), "{out}");
    let rows: Vec<_> = out.lines().skip_while(|line| !line.starts_with("STATE")).collect();
    assert!(
        rows[1].starts_with("MISSING") && rows[2].starts_with("STALE") && rows[3].starts_with("ok"),
        "{out}"
    );
    assert!(rows[2].contains("  2 d "), "{out}");
    let shown = rows[1..].iter().take_while(|row| !row.contains("10 more"));
    assert_eq!(shown.count(), 20, "{out}");
    assert!(out.contains("10 more"), "{out}");
    let table = rows.iter().take(22);
    assert!(table.clone().all(|line| line.chars().count() <= 80), "{out}");

    bench.backup(&[]).await;
    let (code, out, _) = bench.run(&["status"]).await;
    assert_eq!(code, 0, "{out}");
    let first = out.lines().next().unwrap();
    assert!(first.contains("30 collections") && first.contains("26 h"), "{out}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_told_is_an_error_and_neither_yes_nor_no() {
    let bench = Bench::new(&[("docs", 1000)]).await;
    bench.backup(&[]).await;
    assert_eq!(bench.run(&["status"]).await.0, 0);
    let nowhere = format!("file://{}/missing", bench.dir.path().display());
    for (args, exit) in [
        (&["--qdrant-url", "http://127.0.0.1:1"][..], 6),
        (&["--store", &nowhere], 7),
        (&["--max-age", "soon"], 2),
    ] {
        let (code, out, err) = bench.run(&[&["status"], args].concat()).await;
        assert_eq!((code, out.as_str()), (exit, ""), "{args:?}: {err}");
    }
    bench.peer.lock().api_key = Some("another".into());
    let (code, out, err) = bench.run(&["status"]).await;
    assert_eq!((code, out.as_str()), (6, ""), "{err}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_qdrant_that_has_nothing_is_not_protected() {
    let bench = Bench::new(&[]).await;
    let (code, out, _) = bench.run(&["status"]).await;
    assert_eq!(code, 1, "{out}");
    assert_eq!(bench.status(&[]).await, (1, json!([])));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_metrics_file_is_replaced_as_a_whole_whatever_the_verdict() {
    let bench = Bench::new(&[("docs", 1000)]).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("qdrant_backup.prom");
    let args = ["status", "--metrics-file", file.to_str().unwrap()];
    let value = |name: &str| {
        let text = std::fs::read_to_string(&file).unwrap();
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(&format!("qdrant_backup_{name} ")));
        line.unwrap_or_else(|| panic!("{name}: {text}")).parse::<i64>().unwrap()
    };
    const SUCCESS: &str = "last_success_timestamp_seconds{collection=\"docs\"}";

    assert_eq!(bench.run(&args).await.0, 1);
    assert_eq!((value("status_protected"), value(SUCCESS)), (0, 0));
    // For another user, who reads it: as any file that is made here.
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    std::fs::write(folder.path().join("usual"), "").unwrap();
    assert_eq!(mode(&file), mode(&folder.path().join("usual")));

    bench.backup(&[]).await;
    let (code, out, err) = bench.run(&args).await;
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    let saved = value(SUCCESS);
    assert_eq!(value("status_protected"), 1);
    assert!(saved > 0 && saved <= value("status_timestamp_seconds"), "{saved}");
    assert_eq!(value("last_size_bytes{collection=\"docs\"}"), {
        let manifest = std::fs::read(bench.newest().join("manifest.json")).unwrap();
        let manifest: Value = serde_json::from_slice(&manifest).unwrap();
        manifest["collections"][0]["artifacts"][0]["bytes"].as_i64().unwrap()
    });

    // What cannot be told changes nothing: the file's own time tells how old it is.
    let before = std::fs::read(&file).unwrap();
    let unreachable = [&args[..], &["--qdrant-url", "http://127.0.0.1:1"]].concat();
    assert_eq!(bench.run(&unreachable).await.0, 6);
    assert_eq!(std::fs::read(&file).unwrap(), before);
    let mut left: Vec<_> = std::fs::read_dir(folder.path())
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .collect();
    left.sort();
    assert_eq!(left, ["qdrant_backup.prom", "usual"], "nothing else is left");

    let nowhere = folder.path().join("missing/file.prom");
    let (code, out, err) = bench
        .run(&["status", "--metrics-file", nowhere.to_str().unwrap()])
        .await;
    assert_eq!(code, 14, "{err}");
    assert!(
        out.starts_with("Protected") && err.contains("missing/file.prom"),
        "{out}{err}"
    );
}
