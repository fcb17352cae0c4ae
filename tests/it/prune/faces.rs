//! The same through the command line and HTTP, and after a backup.

use crate::told::offers;
use gcs_emulator::{Emulator, Fault, On};
use qdrant_backup::repository::lease;
use qdrant_backup::repository::manifest::Status;
use serde_json::{Value, json};
use std::time::Duration;
use testkit::history::{History, backup, backup_with, id, put, whole};
use testkit::peer::{Create, Peer};
use testkit::process::{command, finish};
use testkit::service::Service;
use testkit::store::keys;
use testkit::store::{BUCKET, PREFIX};

const OLD: &str = "2020-01-01T00-00-00Z";
const MIDDLE: &str = "2020-01-02T00-00-00Z";
const NEW: &str = "2020-01-03T00-00-00Z";

/// A directory with three backups: partial and pinned, good, good and proven.
async fn filled() -> (History, String) {
    let bench = History::in_directory().await;
    let store = &*bench.store;
    backup_with(store, OLD, |m| m.status = Status::Partial).await;
    put(store, &id(OLD).pinned(), r#"{"by":"me","note":"the audit"}"#).await;
    backup(store, MIDDLE).await;
    backup(store, NEW).await;
    let proof = r#"{"verdict":"intact","at":"2020-01-04T00:00:00Z","tool_version":"9","objects":[]}"#;
    put(store, &id(NEW).verified(), proof).await;
    put(store, &id(NEW).drilled(), proof).await;
    let url = url::Url::from_directory_path(bench.dir()).unwrap().to_string();
    (bench, url)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_shows_the_plan_and_deletes_only_when_told_to() {
    let (bench, _) = filled().await;
    let dir = bench.dir();
    let run = async |args: &[&str], env: &[(&str, &str)]| {
        let mut command = command(args, "http://127.0.0.1:1", dir);
        finish(
            command
                .env_remove("QDRANT_URL")
                .envs(env.iter().copied())
                .spawn()
                .unwrap(),
        )
        .await
    };
    let policy = [("RETAIN_LAST", "1")];

    let (code, out, err) = run(&["prune", "--yes"], &[]).await;
    assert_eq!((code, out.as_str()), (Some(2), ""), "{err}");
    assert!(err.contains("RETAIN_LAST"), "{err}");
    let (code, _, err) = run(&["prune", "--yes"], &[("RETAIN_LAST", "many")]).await;
    assert_eq!(code, Some(2), "{err}");

    // What it prints is in the screens: it offers the command that deletes.
    let (code, out, err) = run(&["prune"], &policy).await;
    assert_eq!(code, Some(0), "{err}");
    assert!(offers(&out, &["prune", "--yes"]), "{out}");
    let (code, out, _) = run(&["prune", "--json"], &policy).await;
    let plan: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        (code, &plan["dry_run"], &plan["report"]),
        (Some(0), &json!(true), &Value::Null)
    );
    let decided: Vec<_> = plan["plan"]["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|i| (&i["keep"], &i["reasons"]))
        .collect();
    assert_eq!(
        decided,
        [
            (&json!(true), &json!(["newest_good", "last"])),
            (&json!(false), &json!([])),
            (&json!(true), &json!(["pinned"]))
        ]
    );
    assert_eq!(bench.whole().await.len(), 3, "a dry run deletes nothing");

    let lease = lease::acquire(
        bench.store.clone(),
        &bench.job.ctx.clock,
        "nightly",
        Duration::from_secs(60),
    )
    .await
    .unwrap();
    let (code, _, err) = run(&["prune", "--yes"], &policy).await;
    assert_eq!(code, Some(5), "{err}");
    assert!(err.contains("nightly"), "{err}");
    lease.release().await.unwrap();

    let (code, out, err) = run(&["prune", "--yes", "--json"], &policy).await;
    assert_eq!(code, Some(0), "{err}");
    let pruned: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        (&pruned["report"]["planned"], &pruned["report"]["deleted"][0]["id"]),
        (&json!(1), &json!(MIDDLE)),
        "{pruned}"
    );
    assert_eq!(bench.whole().await, [NEW, OLD]);

    let (code, out, _) = run(&["unpin", OLD], &[]).await;
    assert_eq!((code, out), (Some(0), format!("{OLD} is no longer pinned\n")));
    let (code, out, _) = run(&["pin", "latest", "--note", "the merger"], &[]).await;
    assert_eq!(code, Some(0));
    assert!(out.starts_with(NEW), "{out}");
    assert_eq!(run(&["pin", MIDDLE], &[]).await.0, Some(8));
    assert_eq!(run(&["pin", "nonsense"], &[]).await.0, Some(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn list_and_show_tell_what_each_backup_is_worth() {
    let (bench, url) = filled().await;
    let dir = bench.dir();
    let run = async |args: &[&str]| {
        let (code, out, err) = finish(command(args, "http://127.0.0.1:1", dir).spawn().unwrap()).await;
        assert_eq!(code, Some(0), "{err}");
        out
    };
    // How they look is in the screens.
    let list = run(&["list"]).await;
    let cell = |id: &str, column: &str| {
        let mut lines = list.lines();
        let at = lines.next().unwrap().split_whitespace().position(|name| name == column);
        let line = lines
            .find(|line| line.starts_with(id))
            .unwrap_or_else(|| panic!("{list}"));
        // Cells have single spaces in them, and at least two between them.
        let cells = line.split("  ").map(str::trim).filter(|cell| !cell.is_empty());
        cells.skip(at.unwrap()).map(str::to_owned).next().unwrap_or_default()
    };
    assert_eq!(
        (cell(NEW, "STATUS").as_str(), cell(OLD, "STATUS").as_str()),
        ("good", "PARTIAL"),
        "{list}"
    );
    assert!(cell(NEW, "PROOF").starts_with("drilled "), "{list}");
    assert_eq!(cell(OLD, "PROOF"), "stored", "{list}");
    for shown in [&list, &run(&["show", OLD]).await] {
        assert!(
            shown
                .lines()
                .any(|line| line.contains("me") && line.contains("the audit")),
            "{shown}"
        );
    }
    let json: Value = serde_json::from_str(&run(&["list", "--json"]).await).unwrap();
    let newest = &json["backups"][0];
    assert_eq!(newest["marks"], json!(["good", "verified", "drilled"]));
    assert_eq!(newest["points_by_collection"], json!({"docs": 7, "a b": 7}));
    let json: Value = serde_json::from_str(&run(&["show", OLD, "--json"]).await).unwrap();
    assert_eq!(
        (&json["id"], &json["summary"]["marks"]),
        (&json!(OLD), &json!(["partial", "pinned"]))
    );
    let json: Value = serde_json::from_str(&run(&["show", "latest", "--json"]).await).unwrap();
    let intact = json!({"verdict": "intact", "at": "2020-01-04T00:00:00Z"});
    assert_eq!((&json["id"], &json["summary"]["verified"]), (&json!(NEW), &intact));

    let service = Service::start(&[("QDRANT_URL", "http://127.0.0.1:1"), ("BACKUP_STORE", &url)]).await;
    let (status, list) = service.get("/backups").await;
    assert_eq!(status, 200, "{list}");
    let marks: Vec<_> = list["backups"]
        .as_array()
        .unwrap()
        .iter()
        .map(|b| b["marks"].clone())
        .collect();
    assert_eq!(
        marks,
        [
            json!(["good", "verified", "drilled"]),
            json!(["good"]),
            json!(["partial", "pinned"])
        ]
    );
    let newest = &list["backups"][0];
    assert_eq!(
        (&newest["points"], &newest["points_by_collection"]["a b"]),
        (&json!(14), &json!(7))
    );
    assert!(
        newest["bytes"].as_u64().unwrap() > 0 && newest["age_seconds"].as_u64().unwrap() > 0,
        "{newest}"
    );
    let (_, one) = service.get(&format!("/backups/{OLD}")).await;
    assert_eq!(
        (&one["collections"][0]["name"], &one["summary"]["pinned"]["note"]),
        (&json!("docs"), &json!("the audit"))
    );
    assert!(one["age_seconds"].as_u64().unwrap() > 0, "{one}");
    let (_, all) = service.get("/status").await;
    let verified = json!({"verdict": "intact", "at": "2020-01-04T00:00:00Z"});
    assert_eq!(all["last_backup"]["verified"], verified, "{all}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_service_prunes_on_request() {
    let (bench, url) = filled().await;
    let env = [("QDRANT_URL", "http://127.0.0.1:1"), ("BACKUP_STORE", url.as_str())];
    let without = Service::start(&env).await;
    let (status, answer) = without.post("/prune", "{}").await;
    assert_eq!(
        (status, &answer["error"]["code"]),
        (500, &json!("config_invalid")),
        "{answer}"
    );

    let service = Service::start(&[&env[..], &[("RETAIN_LAST", "1")]].concat()).await;
    let (status, answer) = service.post("/prune", "[]").await;
    assert_eq!((status, &answer["error"]["code"]), (400, &json!("bad_request")));
    // Only a clear word deletes.
    for body in [r#"{"dry_run": true}"#, "{}", ""] {
        let (status, answer) = service.post("/prune", body).await;
        assert_eq!(
            (status, &answer["dry_run"], &answer["report"]),
            (200, &json!(true), &Value::Null),
            "{body:?}"
        );
        assert_eq!(bench.whole().await.len(), 3, "{body:?}");
    }

    let lease = lease::acquire(
        bench.store.clone(),
        &bench.job.ctx.clock,
        "nightly",
        Duration::from_secs(60),
    )
    .await
    .unwrap();
    let (status, answer) = service.post("/prune", r#"{"dry_run": false}"#).await;
    assert_eq!((status, &answer["error"]["code"]), (409, &json!("run_in_progress")));
    assert_eq!(answer["held_by"]["who"], "nightly", "{answer}");
    assert!(answer["held_by"]["since"].is_string(), "{answer}");
    lease.release().await.unwrap();

    let (status, answer) = service.post("/prune", r#"{"dry_run": false}"#).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(answer["report"]["deleted"][0]["id"], json!(MIDDLE));
    assert_eq!(bench.whole().await, [NEW, OLD]);
}

/// What the service answers that is to keep one backup of a bucket and may not delete.
async fn forbidden(gcs: &Emulator) -> Value {
    let store = format!("gs://{BUCKET}/{PREFIX}");
    let env = [
        ("QDRANT_URL", "http://127.0.0.1:1"),
        ("BACKUP_STORE", &store),
        ("STORAGE_EMULATOR_HOST", gcs.url()),
        ("RETAIN_LAST", "1"),
    ];
    let service = Service::start(&env).await;
    let (status, answer) = service.post("/prune", r#"{"dry_run": false}"#).await;
    assert_eq!(
        (status, &answer["error"]["code"]),
        (502, &json!("store_forbidden")),
        "{answer}"
    );
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_one_error_of_the_service() {
    let bench = History::in_emulator().await;
    backup(&*bench.store, OLD).await;
    backup(&*bench.store, NEW).await;
    let gcs = bench.gcs();
    gcs.deny("storage.objects.delete");
    forbidden(gcs).await;
    assert_eq!(bench.whole().await, [NEW, OLD]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prune_that_stops_half_way_tells_what_it_has_deleted() {
    let bench = History::in_emulator().await;
    for id in [OLD, MIDDLE, NEW] {
        backup(&*bench.store, id).await;
    }
    let gcs = bench.gcs();
    let refuses = Fault::Status {
        on: On::Delete,
        code: 403,
    };
    gcs.fault(&format!("*{MIDDLE}*"), usize::MAX, refuses);
    let answer = forbidden(gcs).await;
    let report = &answer["report"];
    assert_eq!(
        (&report["planned"], &report["deleted"][0]["id"]),
        (&json!(2), &json!(OLD)),
        "{answer}"
    );
    assert_eq!(answer["plan"]["items"].as_array().unwrap().len(), 3, "{answer}");
    assert_eq!(bench.whole().await, [NEW, MIDDLE]);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_backup_old_ones_go_if_that_is_set() {
    let peer = Peer::start(&[("c", 1000), ("d", 1000)]).await;
    let (bench, url) = filled().await;
    let env = [
        ("QDRANT_URL", peer.url.as_str()),
        ("BACKUP_STORE", &url),
        ("RETAIN_LAST", "1"),
    ];
    let service = Service::start(&env).await;
    assert_eq!(service.post("/backup", "").await.0, 200);
    assert_eq!(bench.whole().await.len(), 4, "it is not set");

    let service = Service::start(&[&env[..], &[("PRUNE_AFTER_BACKUP", "true")]].concat()).await;
    // Also after a partial one, which takes the place of no good one.
    peer.on_create("d", [Create::Forbidden]);
    let (status, answer) = service.post("/backup", "").await;
    let partial = answer["report"]["id"].as_str().unwrap().to_owned();
    assert_eq!((status, &answer["report"]["warnings"]), (500, &json!([])), "{answer}");
    let left = bench.whole().await;
    assert_eq!(left.len(), 3, "the pin, the newest good one, and this: {left:?}");
    assert!(left.contains(&partial) && left.contains(&OLD.to_owned()), "{left:?}");
    backup(&*bench.store, MIDDLE).await;
    backup(&*bench.store, NEW).await;

    let (status, report) = service.post("/backup", "").await;
    assert_eq!((status, &report["warnings"]), (200, &json!([])), "{report}");
    let left = bench.whole().await;
    assert!(
        left.contains(&report["id"].as_str().unwrap().to_owned()) && left.contains(&OLD.to_owned()),
        "{left:?}"
    );
    assert!(
        !left.contains(&NEW.to_owned()) && !left.contains(&MIDDLE.to_owned()),
        "{left:?}"
    );
    assert!(!keys(&*bench.store, "").await.contains(&"lock.json".to_owned()));

    backup(&*bench.store, MIDDLE).await;
    let mut command = command(&["backup", "--json"], &peer.url, bench.dir());
    let child = command
        .envs([("RETAIN_LAST", "1"), ("PRUNE_AFTER_BACKUP", "true")])
        .spawn()
        .unwrap();
    let (code, _, err) = finish(child).await;
    assert_eq!(code, Some(0), "{err}");
    assert!(!bench.whole().await.contains(&MIDDLE.to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collection_that_always_fails_leaves_one_copy_of_the_others() {
    let peer = Peer::start(&[("c", 1000), ("d", 1000)]).await;
    let dir = tempfile::tempdir().unwrap();
    let store = url::Url::from_directory_path(dir.path()).unwrap();
    let env = [
        ("QDRANT_URL", peer.url.as_str()),
        ("BACKUP_STORE", store.as_str()),
        ("RETAIN_HOURLY", "48"),
        ("RETAIN_MIN_AGE_HOURS", "0"),
        ("PRUNE_AFTER_BACKUP", "true"),
    ];
    let service = Service::start(&env).await;
    let ids = || {
        let folders = std::fs::read_dir(dir.path().join("backups")).unwrap();
        let names = folders.map(|folder| folder.unwrap().file_name().into_string().unwrap());
        names.collect::<std::collections::BTreeSet<_>>()
    };
    let (_, good) = service.post("/backup", "").await;
    let partial = async |failing: &str| {
        service.hands.pass(Duration::from_secs(3600));
        peer.on_create(failing, [Create::Forbidden]);
        let (status, answer) = service.post("/backup", "").await;
        assert_eq!(status, 500, "{answer}");
        answer["report"]["id"].as_str().unwrap().to_owned()
    };
    let id = |report: &Value| report["id"].as_str().unwrap().to_owned();
    for _ in 0..3 {
        let newest = partial("d").await;
        assert_eq!(ids(), [id(&good), newest].into());
    }
    // What only an older one has of the newest data stays, too.
    let (of_c, of_d) = (partial("d").await, partial("c").await);
    assert_eq!(ids(), [id(&good), of_c, of_d].into());
    let (_, next) = service.post("/backup", "").await;
    assert_eq!(ids(), [id(&good), id(&next)].into());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prune_that_fails_is_a_warning_of_the_backup_before_it() {
    let bench = History::in_emulator().await;
    backup(&*bench.store, OLD).await;
    let gcs = bench.gcs();
    gcs.fault(
        &format!("*{OLD}*"),
        usize::MAX,
        Fault::Status {
            on: On::Delete,
            code: 403,
        },
    );
    let peer = Peer::start(&[("c", 1000)]).await;
    let store = format!("gs://{BUCKET}/{PREFIX}");
    let env = [
        ("QDRANT_URL", peer.url.as_str()),
        ("BACKUP_STORE", &store),
        ("STORAGE_EMULATOR_HOST", gcs.url()),
        ("RETAIN_LAST", "1"),
        ("PRUNE_AFTER_BACKUP", "true"),
    ];
    let service = Service::start(&env).await;
    let (status, report) = service.post("/backup", "").await;
    assert_eq!((status, &report["status"]), (200, &json!("complete")), "{report}");
    let is_told = |report: &Value| {
        let [warning] = &report["warnings"].as_array().unwrap()[..] else {
            panic!("{report}");
        };
        for word in ["0 of 1", "storage.objects.delete"] {
            assert!(warning.as_str().unwrap().contains(word), "{word}: {report}");
        }
    };
    is_told(&report);
    assert_eq!(whole(&*bench.store).await.len(), 2);

    let mut command = command(&["backup", "--json"], &peer.url, std::path::Path::new("/"));
    let env = env.iter().filter(|(name, _)| *name != "QDRANT_URL").copied();
    let (code, out, err) = finish(command.envs(env).spawn().unwrap()).await;
    assert_eq!(code, Some(0), "{err}");
    let report: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(report["status"], "complete", "{report}");
    is_told(&report);
}
