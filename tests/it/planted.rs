//! Records that no run of this tool wrote: they delete nothing, keep nobody from working, and are told.

use qdrant_backup::base::error::Code;
use qdrant_backup::ops::backup::BackupOutcome;
use qdrant_backup::repository::catalog::{self, Mark};
use serde_json::{Value, json};
use std::path::Path;
use std::time::{Duration, SystemTime};
use testkit::bench::Bench;
use testkit::faulty::{Faulty, broken_off};
use testkit::peer::Peer;
use testkit::process;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;

const RUN: &str = "2026-11-01T00-00-00Z";
const LOCK: &str = "lock.json";

async fn bench() -> (Peer, Bench) {
    let peer = Peer::start(&[("c", 1000)]).await;
    let bench = Bench::new(&peer.url).await;
    (peer, bench)
}

fn plant(bench: &Bench, key: &str, content: &Value) {
    let path = bench.dir.path().join(key);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, content.to_string()).unwrap();
}

/// What somebody else may have stored, as if a run had asked for a snapshot at `at`.
fn intent(bench: &Bench, at: OffsetDateTime, within: u64) -> Value {
    json!({
        "run": RUN, "collection": "c", "qdrant": bench.ctx.qdrant.url(), "existing": [],
        "requested_at": at.format(&Rfc3339).unwrap(), "within_seconds": within,
    })
}

/// Somebody else's snapshot of `c`, of that time.
fn theirs(peer: &Peer, at: OffsetDateTime) -> String {
    let at = at
        .format(format_description!("[year]-[month]-[day]-[hour]-[minute]-[second]"))
        .unwrap();
    let name = format!("c-1-{at}.snapshot");
    peer.add_foreign("c", &name);
    name
}

/// The lines of `check` on `what`: state, message, remedy.
async fn checked(peer: &Peer, bench: &Bench, what: &str) -> Vec<[String; 3]> {
    let child = process::command(&["check", "--json"], &peer.url, bench.dir.path()).spawn();
    let (_, out, err) = process::finish(child.unwrap()).await;
    let report: Value = serde_json::from_str(&out).unwrap_or_else(|_| panic!("{out}{err}"));
    let lines = report["checks"].as_array().unwrap();
    let text = |line: &Value, field: &str| line[field].as_str().unwrap_or_default().to_owned();
    let lines = lines.iter().filter(|line| line["check"] == what);
    lines
        .map(|line| ["state", "message", "remedy"].map(|field| text(line, field)))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_intent_under_any_other_name_deletes_nothing_and_stays() {
    let now = OffsetDateTime::now_utc();
    for (key, changed) in [
        ("intents/their.json".to_owned(), None),
        (format!("intents/{RUN}/c.json"), None),
        (format!("intents/{RUN}/x/c-1.json"), None),
        // The names of intents, but of others.
        (format!("intents/{RUN}/d-1.json"), None),
        ("intents/2026-11-02T00-00-00Z/c-1.json".to_owned(), None),
        (format!("intents/{RUN}/c-1.json"), Some(("shard", json!(3)))),
    ] {
        let (peer, bench) = bench().await;
        let name = theirs(&peer, now);
        let mut content = intent(&bench, now, 5);
        if let Some((field, value)) = changed {
            content[field] = value;
        }
        plant(&bench, &key, &content);
        let report = bench.run().await.unwrap();
        assert_eq!(report.status, BackupOutcome::Complete, "{key}");
        assert_eq!(peer.snapshots("c"), [name], "{key}: theirs is gone");
        assert!(bench.dir.path().join(&key).exists(), "{key} is gone");
        let [warning] = &report.warnings[..] else {
            panic!("{key}: {:?}", report.warnings);
        };
        assert!(warning.contains(&key), "{warning}");
        let [[state, message, remedy]] = &checked(&peer, &bench, "intents").await[..] else {
            panic!("{key}");
        };
        assert!(
            state == "warn" && message.contains(&key) && remedy.contains("delete"),
            "{key}: {message} {remedy}"
        );
    }
}

#[tokio::test]
async fn an_intent_of_any_length_is_one_of_minutes() {
    let (peer, bench) = bench().await;
    let now = OffsetDateTime::now_utc();
    let (later, within) = (theirs(&peer, now), 1_000_000_000);
    plant(
        &bench,
        &format!("intents/{RUN}/c-1.json"),
        &intent(&bench, now - Duration::from_secs(3600), within),
    );
    bench.run().await.unwrap();
    assert_eq!(peer.snapshots("c"), [later]);

    // One of the minutes after it is still known to be left by that run.
    let (peer, bench) = self::bench().await;
    theirs(&peer, now - Duration::from_secs(3000));
    let asked = intent(&bench, now - Duration::from_secs(3300), within);
    plant(&bench, &format!("intents/{RUN}/c-1.json"), &asked);
    bench.run().await.unwrap();
    assert_eq!(peer.snapshots("c"), [""; 0]);
}

#[tokio::test]
async fn any_number_of_odd_intents_of_any_size_costs_no_backup() {
    let (peer, bench) = bench().await;
    for i in 0..200 {
        // Its reader would tell all of the text.
        plant(
            &bench,
            &format!("intents/{RUN}/c-{}.json", i + 1),
            &json!("x".repeat(100_000)),
        );
    }
    let report = bench.run().await.unwrap();
    assert_eq!(report.status, BackupOutcome::Complete);
    let told: usize = report.warnings.iter().map(String::len).sum();
    assert!(
        report.warnings.len() <= 11 && told < 200_000,
        "{told} bytes in {}",
        report.warnings.len()
    );
    assert!(
        report.warnings.last().unwrap().contains("190"),
        "{:?}",
        report.warnings.last()
    );
    drop(peer);
}

#[tokio::test]
async fn an_intent_that_the_store_does_not_give_costs_no_backup() {
    for code in [Code::ChecksumMismatch, Code::LengthMismatch, Code::StoreFailed] {
        let (_peer, mut bench) = bench().await;
        plant(&bench, &format!("intents/{RUN}/c-1.json"), &json!({}));
        bench.ctx.store = Faulty::over(&bench.ctx.store)
            .on_get(move |key, stream| async move {
                Ok(Some(match key.starts_with("intents/") {
                    true => broken_off(stream, 1, code),
                    false => stream,
                }))
            })
            .build();
        let report = bench.run().await.unwrap();
        assert_eq!(report.status, BackupOutcome::Complete, "{code}");
        assert!(report.warnings[0].contains("c-1.json"), "{code}: {:?}", report.warnings);
    }
}

fn lease(expires_at: &str) -> Value {
    json!({"holder": "x", "who": "somebody", "since": "2026-11-01T00:00:00Z", "expires_at": expires_at})
}

fn age(path: &Path, by: Duration) {
    let file = std::fs::File::options().write(true).open(path).unwrap();
    file.set_modified(SystemTime::now() - by).unwrap();
}

#[tokio::test]
async fn no_lease_holds_longer_than_an_hour_after_its_last_change_whatever_it_says() {
    for content in [
        lease("9999-12-31T23:59:59Z"),
        json!("no lease at all"),
        json!({"who": "me"}),
    ] {
        let (_peer, bench) = bench().await;
        plant(&bench, LOCK, &content);
        let error = bench.run().await.unwrap_err();
        assert_eq!(error.code(), Code::RunInProgress, "{content}: {error}");
        age(&bench.dir.path().join(LOCK), Duration::from_secs(3000));
        assert_eq!(bench.run().await.unwrap_err().code(), Code::RunInProgress, "{content}");
        let remedy = error.remedy_text().unwrap();
        assert!(!remedy.contains("9999"), "{remedy}");
        age(&bench.dir.path().join(LOCK), Duration::from_secs(3700));
        let report = bench.run().await.unwrap();
        assert_eq!(report.status, BackupOutcome::Complete, "{content}");
        assert!(!bench.dir.path().join(LOCK).exists());
    }
}

#[tokio::test]
async fn a_lease_of_a_clock_that_is_hours_ahead_holds_as_long_as_it_is_renewed() {
    // By the clocks of others as well as by its own.
    for ahead in [Duration::ZERO, Duration::from_secs(3 * 3600)] {
        let (_peer, mut bench) = bench().await;
        let expires = OffsetDateTime::now_utc() + Duration::from_secs(3 * 3600 + 120);
        plant(&bench, LOCK, &lease(&expires.format(&Rfc3339).unwrap()));
        age(&bench.dir.path().join(LOCK), Duration::from_secs(60));
        bench.ctx.clock = qdrant_backup::base::clock::Clock::new(move || OffsetDateTime::now_utc() + ahead);
        assert_eq!(bench.run().await.unwrap_err().code(), Code::RunInProgress, "{ahead:?}");
    }
}

#[tokio::test]
async fn a_verdict_on_another_backup_counts_for_nothing() {
    let (_peer, bench) = bench().await;
    let id = bench.run().await.unwrap().id;
    let marks = async || {
        let now = OffsetDateTime::now_utc() + Duration::from_secs(60);
        catalog::newest(&*bench.ctx.store, now).await.unwrap().unwrap().marks
    };
    for verdict in ["intact", "passed", "damaged", "failed"] {
        for key in [id.verified(), id.drilled()] {
            plant(&bench, &key, &json!({"id": RUN, "verdict": verdict}));
            assert_eq!(marks().await, [Mark::Good], "{verdict} in {key}");
            std::fs::remove_file(bench.dir.path().join(key)).unwrap();
        }
    }
    plant(&bench, &id.verified(), &json!({"id": id, "verdict": "damaged"}));
    assert_eq!(marks().await, [Mark::Damaged]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_cannot_be_read_is_told_by_check_with_what_to_do() {
    let (peer, bench) = bench().await;
    let id = bench.run().await.unwrap().id;
    let odd = json!(["nonsense"]);
    let jobs = ["jobs/nightly-1/plan.json", "jobs/nightly-1/parts/c.json"].map(str::to_owned);
    let beside = [id.pinned(), id.verified(), id.drilled()];
    for key in jobs.iter().chain(&beside) {
        plant(&bench, key, &odd);
    }
    let lines = checked(&peer, &bench, "records").await;
    assert_eq!(lines.len(), 5, "{lines:?}");
    for key in jobs.iter().chain(&beside) {
        let line = lines.iter().find(|[_, message, _]| message.contains(key));
        let [state, _, remedy] = line.unwrap_or_else(|| panic!("{key}: {lines:?}"));
        assert!(state == "warn" && !remedy.is_empty(), "{key}: {lines:?}");
    }
    // It keeps nobody from making another one, and says why it is no good backup itself.
    assert_eq!(bench.run().await.unwrap().status, BackupOutcome::Complete);
    let (code, out, err) = process::finish(
        process::command(&["list"], &peer.url, bench.dir.path())
            .spawn()
            .unwrap(),
    )
    .await;
    assert_eq!(code, Some(0), "{err}");
    assert!(out.contains("UNREADABLE") && out.contains(&id.verified()), "{out}");
}
