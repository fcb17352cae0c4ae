//! What killed runs left without a manifest: it is told with its size and its end, and goes sooner than any backup.

use qdrant_backup::config::{Config, RetentionConfig};
use qdrant_backup::ops::retention::{Policy, Reason};
use serde_json::{Value, json};
use std::time::{Duration, SystemTime};
use testkit::history::{History, backup, id, put};
use testkit::process::{command, finish};
use testkit::service::Service;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

const NEW: &str = "2020-01-02T12-00-00Z";
const LEFT: &str = "2020-01-01T12-00-00Z";
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// A backup, and what another run left.
async fn filled() -> History {
    let bench = History::in_directory().await;
    backup(&*bench.store, NEW).await;
    for name in ["docs", "logs"] {
        let key = format!("{}{name}/collection.snapshot", id(LEFT).prefix());
        put(&*bench.store, &key, "left behind").await;
    }
    bench
}

#[tokio::test]
async fn leftovers_go_after_six_hours_and_backups_stay_a_day() {
    let mut bench = filled().await;
    backup(&*bench.store, "2020-01-03T12-00-00Z").await;
    bench.job.policy.min_age = DAY * 5000;
    for (later, gone) in [(HOUR * 5, false), (HOUR * 7, true)] {
        bench.later(later);
        let expected: &[&str] = if gone { &[LEFT] } else { &[] };
        assert_eq!(bench.prune().await, expected, "{later:?}");
    }
    assert_eq!(bench.whole().await.len(), 2);
}

#[tokio::test]
async fn what_an_execution_may_come_back_to_stays_as_long_as_its_records() {
    let mut bench = filled().await;
    let plan = json!({
        "format": 1, "id": LEFT, "started_at": "2020-01-01T12:00:00Z", "tasks": 2, "selection": {},
        "url": "http://q:6333", "qdrant": {"version": "1.18.3", "topology": {"kind": "standalone"}},
        "units": [{"collection": "docs"}], "warnings": [],
    });
    put(&*bench.store, "jobs/nightly-1/plan.json", &plan.to_string()).await;
    // One that cannot be read keeps nothing.
    put(&*bench.store, "jobs/nightly-2/plan.json", "{}").await;
    bench.later(HOUR * 23);
    let plan = bench.plan().await;
    let item = plan.items.iter().find(|item| !item.is_backup).unwrap();
    assert_eq!((item.keep, &item.reasons[..]), (true, &[Reason::TooYoung][..]));
    bench.later(HOUR * 25);
    assert_eq!(bench.prune().await, [LEFT]);
}

#[tokio::test]
async fn a_pinned_leftover_has_no_end() {
    let mut bench = filled().await;
    put(&*bench.store, &id(LEFT).pinned(), "{}").await;
    bench.later(DAY * 30);
    assert_eq!(bench.prune().await, [""; 0]);
}

#[test]
fn the_age_of_leftovers_is_a_setting_and_not_below_that_of_a_bucket_with_a_minimum() {
    for (env, hours) in [
        (&[][..], 6),
        (&[("RETAIN_LEFTOVER_HOURS", "1")][..], 1),
        (&[("RETAIN_MIN_AGE_HOURS", "2")][..], 6),
        (&[("RETAIN_MIN_AGE_HOURS", "168")][..], 168),
        (
            &[("RETAIN_MIN_AGE_HOURS", "168"), ("RETAIN_LEFTOVER_HOURS", "48")][..],
            48,
        ),
    ] {
        let given = [env, &[("QDRANT_URL", "http://q:6333"), ("BACKUP_STORE", "file:///b")]].concat();
        let get = |name: &str| {
            let found = given.iter().find(|(variable, _)| *variable == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        let RetentionConfig { policy, .. } = Config::from_env(&get).unwrap().retention;
        assert_eq!(policy.leftover_age, HOUR * hours, "{env:?}");
        assert!(policy.leftover_age >= HOUR && Policy::default().leftover_age == HOUR * 6);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn list_all_tells_their_size_and_when_they_go() {
    let bench = filled().await;
    let dir = bench.dir();
    let run = async |args: &[&str], env: &[(&str, &str)]| {
        let mut command = command(args, "http://127.0.0.1:1", dir);
        let (code, out, err) = finish(command.envs(env.iter().copied()).spawn().unwrap()).await;
        assert_eq!(code, Some(0), "{err}");
        out
    };
    let policy = [("RETAIN_LAST", "1")];
    assert!(!run(&["list"], &policy).await.contains(LEFT), "it is no backup");
    let line = |out: &str| {
        out.lines()
            .find(|line| line.starts_with(LEFT))
            .unwrap_or_default()
            .to_owned()
    };
    let out = run(&["list", "--all"], &policy).await;
    let told = line(&out);
    assert!(
        told.contains(" 2 ") && told.contains("22 B") && told.contains("from 2"),
        "{out}"
    );
    let out = run(&["list", "--all"], &[]).await;
    assert!(out.contains("No retention rule is set"), "{out}");

    // The same in JSON and over HTTP, and what they say is what prune does.
    let out: Value = serde_json::from_str(&run(&["list", "--all", "--json"], &policy).await).unwrap();
    let leftover = &out["leftovers"][0];
    assert_eq!(
        (&leftover["id"], &leftover["objects"], &leftover["bytes"]),
        (&json!(LEFT), &json!(2), &json!(22))
    );
    assert_eq!(leftover["reasons"], json!(["too_young"]));
    let time = |field: &str| OffsetDateTime::parse(leftover[field].as_str().unwrap(), &Rfc3339).unwrap();
    assert_eq!(time("prunable_at") - time("changed_at"), time::Duration::hours(6));
    let url = url::Url::from_directory_path(dir).unwrap().to_string();
    let env = [
        ("QDRANT_URL", "http://127.0.0.1:1"),
        ("BACKUP_STORE", url.as_str()),
        policy[0],
    ];
    let service = Service::start(&env).await;
    let (status, answer) = service.get("/backups?all=true").await;
    assert_eq!((status, &answer["leftovers"]), (200, &out["leftovers"]), "{answer}");
    let (_, answer) = service.get("/backups").await;
    assert!(answer.get("leftovers").is_none(), "{answer}");

    for name in ["docs", "logs"] {
        let path = dir.join(format!("{}{name}/collection.snapshot", id(LEFT).prefix()));
        let file = std::fs::File::options().write(true).open(path).unwrap();
        file.set_modified(SystemTime::now() - HOUR * 7).unwrap();
    }
    let out = run(&["list", "--all"], &policy).await;
    assert!(line(&out).ends_with("now"), "{out}");
    let out = run(&["prune", "--yes"], &policy).await;
    assert!(out.contains("Deleted 1 of 1"), "{out}");
    let out = run(&["list", "--all"], &policy).await;
    assert!(out.contains("No killed run has left anything"), "{out}");

    // What a killed run was copying is no object yet, and takes room all the same.
    let staging = dir.join(".staging");
    std::fs::create_dir_all(&staging).unwrap();
    std::fs::write(
        staging.join(format!("{}.staged", uuid::Uuid::new_v4())),
        vec![0; 3 << 20],
    )
    .unwrap();
    let out = run(&["list", "--all"], &policy).await;
    assert!(out.contains("3.00 MiB") && !out.contains("No killed run"), "{out}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_run_is_writing_is_no_leftover_of_a_killed_one() {
    let bench = filled().await;
    let dir = bench.dir();
    let earlier = "2020-01-01T11-59-59Z";
    put(
        &*bench.store,
        &format!("{}docs/collection.snapshot", id(earlier).prefix()),
        "left behind",
    )
    .await;
    let until = |seconds: i64| {
        let at = OffsetDateTime::now_utc() + time::Duration::seconds(seconds);
        let at = at.format(&Rfc3339).unwrap();
        json!({"holder": "x", "who": "host/1", "since": "2020-01-01T12:00:00.7Z", "expires_at": at})
    };
    for (seconds, told) in [(60, "no: a run is writing it"), (-60, "now")] {
        std::fs::write(dir.join("lock.json"), until(seconds).to_string()).unwrap();
        let list = async |args: &[&str]| {
            let mut command = command(&[&["list", "--all"], args].concat(), "http://127.0.0.1:1", dir);
            let (code, out, err) = finish(command.env("RETAIN_LAST", "1").spawn().unwrap()).await;
            assert_eq!(code, Some(0), "{err}");
            out
        };
        for name in [id(LEFT), id(earlier)] {
            for entry in std::fs::read_dir(dir.join(name.prefix())).unwrap() {
                let path = entry.unwrap().path().join("collection.snapshot");
                let file = std::fs::File::options().write(true).open(path).unwrap();
                file.set_modified(SystemTime::now() - HOUR * 7).unwrap();
            }
        }
        let out = list(&[]).await;
        let line = |id: &str| out.lines().find(|line| line.starts_with(id)).unwrap().to_owned();
        assert!(line(LEFT).ends_with(told), "{out}");
        assert!(line(earlier).ends_with("now"), "{out}");
        let out: Value = serde_json::from_str(&list(&["--json"]).await).unwrap();
        let under_way: Vec<_> = out["leftovers"]
            .as_array()
            .unwrap()
            .iter()
            .map(|l| l["under_way"] == true)
            .collect();
        assert_eq!(under_way, [seconds > 0, false], "{out}");
    }
}
