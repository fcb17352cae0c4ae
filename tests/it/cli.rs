//! The shipped binary as its user meets it: what `check` finds, what the commands print, and where logs go.

use axum::routing::{delete, get, post};
use axum::{Json, Router};
use qdrant_backup::wire::store::DirStore;
use serde_json::{Value, json};
use std::path::Path;
use std::process::Stdio;
use testkit::peer::{Create, Fetch, Peer};
use testkit::process::{command, finish, signal};
use testkit::store::keys;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

const NOBODY: &str = "http://127.0.0.1:1";
const SECRET: &str = "s3cr3t-key";

async fn run(args: &[&str], qdrant: &str, store: &Path) -> (Option<i32>, String, String) {
    finish(command(args, qdrant, store).spawn().unwrap()).await
}

/// What `check` says: for each check its state, and the whole text.
async fn check(command: &mut Command) -> (Option<i32>, Vec<(String, String)>, String) {
    let (code, out, err) = finish(command.spawn().unwrap()).await;
    let report: Value = serde_json::from_str(&out).unwrap_or_else(|_| panic!("{out}{err}"));
    let text = |line: &Value, field: &str| line[field].as_str().unwrap().to_owned();
    let checks = report["checks"].as_array().unwrap();
    let states = checks
        .iter()
        .map(|line| (text(line, "check"), text(line, "state")))
        .collect();
    assert_eq!(report["ok"], code == Some(0));
    for line in checks {
        assert!(
            line["state"] != "fail" || line["remedy"].is_string(),
            "no remedy: {line}"
        );
    }
    (code, states, out + &err)
}

fn states(list: &[(&str, &str)]) -> Vec<(String, String)> {
    list.iter()
        .map(|(check, state)| ((*check).to_owned(), (*state).to_owned()))
        .collect()
}

#[tokio::test]
async fn check_says_ok_to_all_that_a_backup_needs_and_leaves_nothing_behind() {
    let peer = Peer::start(&[("docs", 1000)]).await;
    let dir = tempfile::tempdir().unwrap();
    let (code, out, err) = run(&["check"], &peer.url, dir.path()).await;
    assert_eq!(code, Some(0), "{out}{err}");
    let lines: Vec<_> = out
        .lines()
        .map(|line| line.split_whitespace().take(2).collect::<Vec<_>>())
        .collect();
    assert_eq!(
        lines,
        [
            "configuration",
            "qdrant",
            "key",
            "plan",
            "rights",
            "restore",
            "store",
            "lease",
            "source",
            "space",
            "retention"
        ]
        .map(|check| vec!["ok", check])
    );
    assert!(
        out.contains("1.18.3") && out.contains("1 collection") && !out.contains('\u{1b}'),
        "{out}"
    );
    let store = DirStore::open(dir.path()).await.unwrap();
    assert_eq!((keys(&store, "").await, peer.snapshots("docs")), (vec![], vec![]));
}

#[tokio::test]
async fn check_tells_the_names_of_the_collections_and_of_many_the_first_ten() {
    let names: Vec<String> = (0..12).map(|i| format!("c{i:02}")).collect();
    let all: Vec<(&str, usize)> = names.iter().map(|name| (name.as_str(), 10)).collect();
    let dir = tempfile::tempdir().unwrap();
    for (collections, told) in [
        (&all[..2], "2 collections"),
        (&all[..10], "10 collections"),
        (&all[..], "12 collections"),
    ] {
        let peer = Peer::start(collections).await;
        let (code, out, err) = run(&["check", "--json"], &peer.url, dir.path()).await;
        assert_eq!(code, Some(0), "{out}{err}");
        let report: Value = serde_json::from_str(&out).unwrap();
        let plan = report["checks"]
            .as_array()
            .unwrap()
            .iter()
            .find(|line| line["check"] == "plan");
        let text = plan.unwrap()["message"].as_str().unwrap();
        assert!(text.contains(told), "{told} is missing: {text}");
        let named: Vec<_> = names
            .iter()
            .filter(|name| text.contains(&format!("{name:?}")))
            .collect();
        assert_eq!(
            named,
            names.iter().take(collections.len().min(10)).collect::<Vec<_>>(),
            "{text}"
        );
        let more = collections.len().checked_sub(10).filter(|more| *more > 0);
        assert_eq!(text.contains("2 more"), more == Some(2), "{text}");
    }
}

#[tokio::test]
async fn check_goes_on_behind_a_failure_and_skips_only_what_depends_on_it() {
    let peer = Peer::start(&[("docs", 1000)]).await;
    let dir = tempfile::tempdir().unwrap();

    let (code, found, _) = check(&mut command(&["check", "--json"], NOBODY, dir.path())).await;
    let all = |qdrant, key, plan, rights, store: &str, lease| {
        states(&[
            ("configuration", "ok"),
            ("qdrant", qdrant),
            ("key", key),
            ("plan", plan),
            ("rights", rights),
            ("restore", rights),
            ("store", store),
            ("lease", lease),
            ("source", if plan == "ok" && store == "ok" { "ok" } else { "skip" }),
            ("space", store.replace("fail", "skip").as_str()),
            ("retention", "ok"),
        ])
    };
    assert_eq!(
        (code, found),
        (Some(6), all("fail", "skip", "skip", "skip", "ok", "ok"))
    );

    let missing = dir.path().join("missing");
    let (code, found, _) = check(&mut command(&["check", "--json"], &peer.url, &missing)).await;
    assert_eq!((code, found), (Some(7), all("ok", "ok", "ok", "ok", "fail", "skip")));

    // Both: the first one decides.
    let (code, _, _) = check(&mut command(&["check", "--json"], NOBODY, &missing)).await;
    assert_eq!(code, Some(6));

    peer.lock().api_key = Some("another".into());
    let mut wrong_key = command(&["check", "--json"], &peer.url, dir.path());
    let (code, found, text) = check(wrong_key.env("QDRANT_API_KEY", SECRET)).await;
    assert_eq!((code, found), (Some(6), all("ok", "fail", "skip", "skip", "ok", "ok")));
    assert!(!text.contains(SECRET), "{text}");
}

#[tokio::test]
async fn check_tells_all_problems_of_the_configuration_and_tries_the_rest() {
    let peer = Peer::start(&[("docs", 1000)]).await;
    let dir = tempfile::tempdir().unwrap();
    let mut wrong = command(&["check", "--json"], &peer.url, dir.path());
    wrong
        .env("BACKUP_STORE", "s3://bucket")
        .env("BACKUP_CONCURRENCY", "0")
        .env("LOG_LEVEL", "loud");
    let (code, found, text) = check(&mut wrong).await;
    let expected = states(&[
        ("configuration", "fail"),
        ("configuration", "fail"),
        ("configuration", "warn"),
        ("qdrant", "ok"),
        ("key", "ok"),
        ("plan", "ok"),
        ("rights", "ok"),
        ("restore", "ok"),
        ("store", "skip"),
        ("lease", "skip"),
        ("source", "skip"),
        ("space", "skip"),
        ("retention", "skip"),
    ]);
    assert_eq!((code, found), (Some(2), expected));
    for word in ["s3://bucket", "BACKUP_CONCURRENCY", "LOG_LEVEL"] {
        assert!(text.contains(word), "{word} is missing: {text}");
    }
}

#[tokio::test]
async fn check_tells_what_pruning_keeps_and_whether_it_may_delete_the_rest() {
    let peer = Peer::start(&[("docs", 1000)]).await;
    let dir = tempfile::tempdir().unwrap();
    let gcs = gcs_emulator::Emulator::start().await.unwrap();
    gcs.create_bucket("b");
    let url = url::Url::from_directory_path(dir.path()).unwrap().to_string();
    let line = async |store: &str, more: &[(&str, &str)]| {
        let mut command = command(&["check", "--json"], &peer.url, dir.path());
        command
            .env("BACKUP_STORE", store)
            .env("STORAGE_EMULATOR_HOST", gcs.url());
        let (code, out, err) = finish(command.envs(more.iter().copied()).spawn().unwrap()).await;
        let report: Value = serde_json::from_str(&out).unwrap();
        let line = report["checks"].as_array().unwrap().last().unwrap().clone();
        assert_eq!(line["check"], "retention");
        assert!(code == Some(0) || line["state"] == "warn", "{out}{err}");
        (line["state"].as_str().unwrap().to_owned(), line.to_string())
    };
    let (state, text) = line(&url, &[]).await;
    assert_eq!(state, "ok", "{text}");
    let without_rules = text;
    let rules = [
        ("RETAIN_LAST", "3"),
        ("RETAIN_DAILY", "30"),
        ("PRUNE_AFTER_BACKUP", "true"),
    ];
    let (state, text) = line(&url, &rules[..2]).await;
    let policy = "last 3, daily 30, partial 1, and all younger than 24 h";
    assert!(
        state == "ok" && text.contains(policy) && text != without_rules,
        "{text}"
    );
    let by_hand = text;
    for store in [url.as_str(), "gs://b/p"] {
        let (state, text) = line(store, &rules).await;
        assert!(state == "ok" && text.contains(policy) && text != by_hand, "{text}");
    }
    gcs.deny("storage.objects.delete");
    let (state, text) = line("gs://b/p", &rules).await;
    assert!(state == "warn" && text.contains("storage.objects.delete"), "{text}");
}

#[tokio::test]
async fn check_finds_a_key_that_may_only_read() {
    let ok = |result: Value| Json(json!({"result": result, "status": "ok", "time": 0.0}));
    let forbidden = async || {
        let text = "Forbidden: Write access to collection docs is required";
        (
            axum::http::StatusCode::FORBIDDEN,
            Json(json!({"status": {"error": text}, "time": 0.0})),
        )
    };
    let peer = Router::new()
        .route("/", get(async || Json(json!({"version": "1.15.4"}))))
        .route("/cluster", get(async move || ok(json!({"status": "disabled"}))))
        .route(
            "/collections",
            get(async move || ok(json!({"collections": [{"name": "docs"}]}))),
        )
        .route("/aliases", get(async move || ok(json!({"aliases": []}))))
        .route(
            "/collections/docs/points/count",
            post(async move || ok(json!({"count": 1}))),
        )
        .route("/collections/docs/snapshots", get(async move || ok(json!([]))))
        .route("/collections/docs/snapshots/{name}", delete(forbidden));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, peer).await });
    let dir = tempfile::tempdir().unwrap();
    let (code, found, text) = check(&mut command(&["check", "--json"], &url, dir.path())).await;
    assert_eq!(code, Some(6), "{text}");
    assert!(found.contains(&("rights".into(), "fail".into())), "{text}");
    assert!(
        text.contains("Write access to collection docs"),
        "Qdrant's own reason: {text}"
    );
    assert!(
        found.contains(&("plan".into(), "warn".into())) && text.contains("1.15.5"),
        "the old version: {text}"
    );
}

#[tokio::test]
async fn a_wrong_configuration_ends_every_command_with_all_its_problems() {
    let dir = tempfile::tempdir().unwrap();
    for args in [&["backup"][..], &["serve"]] {
        let mut child = command(args, "not a url", dir.path());
        child
            .env("BACKUP_STORE", "nowhere")
            .env("QDRANT_API_KEY", "s3cr3t-key\u{7}");
        let (code, out, err) = finish(child.spawn().unwrap()).await;
        assert_eq!((code, out.as_str()), (Some(2), ""), "{err}");
        for word in [
            "QDRANT_URL=\"not a url\"",
            "BACKUP_STORE=\"nowhere\"",
            "QDRANT_API_KEY",
            "gs://bucket/prefix",
        ] {
            assert!(err.contains(word), "{word} is missing: {err}");
        }
        assert!(!err.contains(SECRET) && !err.contains('\u{7}'), "{err}");
    }
    // These need no Qdrant.
    for args in [&["list"][..], &["list", "--json"]] {
        let mut child = command(args, "not a url", dir.path());
        assert_eq!(finish(child.spawn().unwrap()).await.0, Some(0));
    }
}

#[tokio::test]
async fn what_is_wrong_with_another_qdrant_is_told_by_its_own_name() {
    let peer = Peer::start(&[("docs", 1000)]).await;
    let dir = tempfile::tempdir().unwrap();
    let mut restore = command(&["restore", "latest", "--to", "nowhere"], &peer.url, dir.path());
    restore.env("RESTORE_QDRANT_API_KEY", "two words");
    let (code, _, err) = finish(restore.spawn().unwrap()).await;
    assert_eq!(code, Some(2), "{err}");
    for told in ["  --to=\"nowhere\" ", "  RESTORE_QDRANT_API_KEY "] {
        assert!(err.contains(told), "{told}: {err}");
    }

    // The service would not start with it, and what is wrong with both is told once.
    for (args, told) in [(&["serve"][..], 2), (&["drill", "latest"], 2), (&["check"], 2)] {
        let mut command = command(args, &peer.url, dir.path());
        command
            .env("DRILL_QDRANT_URL", "nowhere")
            .env("DRILL_QDRANT_API_KEY_FILE", "/nonexistent/key");
        let (code, out, err) = finish(command.spawn().unwrap()).await;
        let text = out + &err;
        assert_eq!(code, Some(2), "{args:?}: {text}");
        assert!(text.contains("DRILL_QDRANT_URL=\"nowhere\" "), "{args:?}: {text}");
        assert_eq!(text.matches("DRILL_QDRANT_").count(), told, "{args:?}: {text}");
        assert!(!text.contains(" QDRANT_"), "{args:?}: {text}");
    }
    let mut twice = command(&["check", "--json"], &peer.url, dir.path());
    twice
        .env("DRILL_QDRANT_URL", "http://drills:6333")
        .env("BACKUP_CONCURRENCY", "0");
    let (code, found, text) = check(&mut twice).await;
    assert_eq!(code, Some(2), "{text}");
    assert_eq!(text.matches("BACKUP_CONCURRENCY").count(), 1, "{text}");
    assert!(found.contains(&("rights".into(), "ok".into())), "{text}");
}

#[tokio::test]
async fn an_output_that_cannot_be_written_hides_nothing_and_keeps_nothing_from_being_done() {
    let peer = Peer::start(&[("docs", 1000), ("logs", 1000)]).await;
    let dir = tempfile::tempdir().unwrap();
    let run = async |args: &[&str]| {
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let child = command(args, &peer.url, dir.path()).stdout(full).spawn().unwrap();
        let (code, _, err) = finish(child).await;
        (code, err)
    };
    let unwritten = async |args: &[&str]| {
        let (code, err) = run(args).await;
        assert_eq!(code, Some(14), "{args:?}: {err}");
        assert!(err.contains("os error 28"), "{args:?}: {err}");
    };
    unwritten(&["backup"]).await;
    for args in [&["list"][..], &["list", "--json"], &["show", "latest"], &["check"]] {
        unwritten(args).await;
    }
    unwritten(&["backup", "--json", "--drill", "--same-qdrant"]).await;
    assert_eq!(peer.requests("/snapshots/upload"), 2, "the drill was held");
    unwritten(&["drill", "latest", "--same-qdrant"]).await;
    unwritten(&["restore", "latest", "docs", "--into", "copy", "--dry-run"]).await;
    let uploads = peer.requests("/snapshots/upload");
    unwritten(&["restore", "latest", "docs", "--into", "copy"]).await;
    assert!(peer.requests("/snapshots/upload") > uploads, "the restore was held");

    peer.on_create("logs", [Create::Forbidden]);
    assert_eq!(run(&["backup"]).await.0, Some(3), "partial");
    peer.on_create("logs", [Create::Forbidden]);
    assert_eq!(run(&["backup", "logs", "--json"]).await.0, Some(4), "failed");
    assert_eq!(
        run(&["verify", "all"]).await.0,
        Some(9),
        "the peer's bytes are no snapshot"
    );
    peer.lock().api_key = Some("another".into());
    assert_eq!(run(&["check"]).await.0, Some(6), "the key is refused");
}

#[tokio::test]
async fn what_is_printed_can_be_read_by_people_and_by_programs() {
    let peer = Peer::start(&[("docs", 3 << 20), ("odd\u{1b}[31m", 10)]).await;
    let dir = tempfile::tempdir().unwrap();
    let (code, out, err) = run(&["backup", "docs"], &peer.url, dir.path()).await;
    assert_eq!(code, Some(0), "{out}{err}");
    assert!(out.contains("docs") && out.contains("3.00 MiB"), "{out}");
    assert!(
        err.lines().any(|line| line.contains("\"docs\"")) && !err.contains('\u{1b}'),
        "plain lines tell the progress: {err}"
    );

    peer.on_create("docs", [Create::Forbidden]);
    let (code, out, err) = run(&["backup", "--json", "--include", "*"], &peer.url, dir.path()).await;
    assert_eq!(code, Some(3), "{err}");
    let told: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(told["error"]["code"], "backup_partial", "{told}");
    let report = &told["report"];
    assert_eq!(
        (&report["status"], &report["failed"][0]["collection"]),
        (&json!("partial"), &json!("docs"))
    );
    assert!(err.contains("1 of 2"), "{err}");

    let (_, out, err) = run(&["list"], &peer.url, dir.path()).await;
    assert_eq!(err, "");
    let lines: Vec<_> = out.lines().collect();
    assert!(
        lines[0].starts_with("ID ") && lines[1].contains("PARTIAL") && lines[2].contains("good"),
        "{out}"
    );
    assert!(
        lines[2].ends_with("3.00 MiB") && lines[2].contains("  good     stored "),
        "{out}"
    );
    let (_, out, _) = run(&["list", "--json", "--limit", "1"], &peer.url, dir.path()).await;
    let list: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        (&list["backups"][0]["id"], list["backups"].as_array().unwrap().len()),
        (&report["id"], 1)
    );

    let id = report["id"].as_str().unwrap();
    let (_, out, _) = run(&["show", id], &peer.url, dir.path()).await;
    assert!(
        out.contains("PARTIAL") && out.contains("docs") && out.contains("collection.snapshot"),
        "{out}"
    );
    assert!(!out.contains('\u{1b}'), "a name reaches the terminal as it is: {out}");
    let (_, out, _) = run(&["show", id, "--json"], &peer.url, dir.path()).await;
    assert_eq!(serde_json::from_str::<Value>(&out).unwrap()["id"], report["id"]);
}

#[tokio::test]
async fn a_backup_of_a_selection_says_so_wherever_somebody_may_take_it_for_one_of_everything() {
    let peer = Peer::start(&[("docs", 1000), ("logs", 10)]).await;
    let dir = tempfile::tempdir().unwrap();
    let backup = async |args: &[&str]| {
        let (code, out, err) = run(&[&["backup", "--json"], args].concat(), &peer.url, dir.path()).await;
        assert_eq!(code, Some(0), "{err}");
        let report: Value = serde_json::from_str(&out).unwrap();
        report["id"].as_str().unwrap().to_owned()
    };
    let copy = ["restore", "latest", "--into", "{}-copy"];
    let most = backup(&["--exclude", "logs"]).await;
    let docs = backup(&["docs"]).await;
    let (code, plan, err) = run(&[&copy[..], &["--dry-run"]].concat(), &peer.url, dir.path()).await;
    assert_eq!(code, Some(0), "{plan}{err}");
    assert!(plan.lines().next().unwrap().contains(&most), "{plan}");
    assert!(
        plan.lines().any(|line| line.ends_with("everything except logs")),
        "{plan}"
    );
    let warnings: Vec<_> = plan.lines().filter(|line| line.starts_with("warning ")).collect();
    let about = |id: &str| warnings.iter().filter(|line| line.contains(id)).count();
    // The newer one of one collection, and what the older one has not.
    assert_eq!(
        (warnings.len(), about(&docs), about("only docs"), about(&most)),
        (2, 1, 1, 1),
        "{plan}"
    );

    let all = backup(&["--include", "*"]).await;
    let docs = backup(&["docs"]).await;
    let (_, list, _) = run(&["list"], &peer.url, dir.path()).await;
    let lines: Vec<_> = list.lines().collect();
    assert!(lines[1].starts_with(&docs), "{list}");
    assert_eq!(lines[2], "  selected: only docs", "{list}");
    assert!(lines[3].starts_with(&all) && !lines[4].starts_with(' '), "{list}");
    let (_, list, _) = run(&["list", "--json", "--limit", "1"], &peer.url, dir.path()).await;
    let list: Value = serde_json::from_str(&list).unwrap();
    assert_eq!(list["backups"][0]["selection"], json!({"collections": ["docs"]}));
    let (_, shown, _) = run(&["show", &docs], &peer.url, dir.path()).await;
    assert!(shown.lines().any(|line| line.ends_with(": only docs")), "{shown}");

    let copy = ["restore", &docs, "--into", "{}-copy", "--json"];
    let (code, out, err) = run(&copy, &peer.url, dir.path()).await;
    assert_eq!(code, Some(0), "{out}{err}");
    let report: Value = serde_json::from_str(&out).unwrap();
    let warning = report["warnings"][0].as_str().unwrap_or_default();
    assert!(warning.contains("only docs") && warning.contains(&all), "{report}");
    // Whoever says what he wants, or takes the other one, is not bothered.
    for what in [&["latest", "docs"][..], &[&all]] {
        let args = [&["restore", "--dry-run", "--into", "{}-other"], what].concat();
        let (code, plan, err) = run(&args, &peer.url, dir.path()).await;
        assert_eq!(code, Some(0), "{plan}{err}");
        assert!(!plan.contains("warning"), "{plan}");
    }
}

#[tokio::test]
async fn on_cloud_run_every_line_is_json_and_those_of_a_request_carry_its_trace() {
    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    let peer = Peer::start(&[("docs", 1000)]).await;
    peer.lock().api_key = Some(SECRET.into());
    // Makes the task that saves the collection speak, too.
    peer.on_fetch("docs", [Fetch::Cut(500)]);
    let dir = tempfile::tempdir().unwrap();
    let mut child = command(&["serve"], &peer.url, dir.path());
    child.envs([
        ("K_SERVICE", "backup"),
        ("GOOGLE_CLOUD_PROJECT", "my-project"),
        ("LISTEN", "127.0.0.1:0"),
        ("QDRANT_API_KEY", SECRET),
        ("BACKUP_LOCAL_PATH", "/tmp"),
    ]);
    let mut child = child.stderr(Stdio::piped()).spawn().unwrap();
    let mut stderr = BufReader::new(child.stderr.take().unwrap()).lines();
    let mut lines: Vec<Value> = Vec::new();
    let url = loop {
        let line = stderr.next_line().await.unwrap().expect("the service ended");
        let line: Value = serde_json::from_str(&line).unwrap();
        let address = line["address"].as_str().map(|address| format!("http://{address}"));
        lines.push(line);
        if let Some(url) = address {
            break url;
        }
    };
    let http = reqwest::Client::new();
    let checked = (
        "x-serverless-authorization",
        "Bearer e30.e30.SIGNATURE_REMOVED_BY_GOOGLE",
    );
    let traced = http.post(format!("{url}/backup")).header("x-request-id", "traced");
    let made = traced
        .header("x-cloud-trace-context", format!("{TRACE}/1;o=1"))
        .header(checked.0, checked.1)
        .send()
        .await
        .unwrap();
    assert_eq!(made.status(), 200);
    let untraced = http
        .get(format!("{url}/nothing?key={SECRET}"))
        .header("authorization", SECRET)
        .header(checked.0, checked.1)
        .send()
        .await
        .unwrap();
    assert_eq!(untraced.status(), 404);
    signal(&child, rustix::process::Signal::TERM);
    while let Some(line) = stderr.next_line().await.unwrap() {
        lines.push(serde_json::from_str(&line).unwrap_or_else(|_| panic!("not JSON: {line}")));
    }
    assert_eq!(child.wait().await.unwrap().code(), Some(0), "an orderly stop");

    for line in &lines {
        assert!(
            line["severity"].is_string() && line["message"].is_string() && line["time"].is_string(),
            "{line}"
        );
        assert!(!line.to_string().contains(SECRET), "{line}");
    }
    let with_trace: Vec<_> = lines
        .iter()
        .filter(|l| l.get("logging.googleapis.com/trace").is_some())
        .collect();
    for line in &with_trace {
        assert_eq!(
            line["logging.googleapis.com/trace"],
            format!("projects/my-project/traces/{TRACE}")
        );
    }
    let field = |name: &str| with_trace.iter().find_map(|line| line[name].as_str()).unwrap();
    let (id, collection) = (field("backup"), field("collection"));
    let messages: Vec<_> = with_trace
        .iter()
        .map(|line| line["message"].as_str().unwrap())
        .collect();
    assert_eq!(
        messages,
        [
            &format!("backup {id} started"),
            "download interrupted; continuing",
            &format!("collection {collection:?} saved"),
            "backup finished: good",
            "POST /backup 200"
        ]
    );
    let other = lines.iter().find(|line| line["message"] == "GET /nothing 404").unwrap();
    assert_eq!(
        (other.get("logging.googleapis.com/trace"), &other["status"]),
        (None, &json!(404))
    );
    assert!(
        lines
            .iter()
            .any(|l| l["severity"] == "WARNING" && l["message"].as_str().unwrap().contains("BACKUP_LOCAL_PATH"))
    );
}

#[tokio::test]
async fn a_misspelled_variable_is_told_by_every_command_and_fails_the_check() {
    let peer = Peer::start(&[("docs", 1000)]).await;
    let dir = tempfile::tempdir().unwrap();
    let misspelled = [("RETAIN_HOURY", SECRET), ("qdrant_api_key", SECRET)];
    for args in [&["list"][..], &["backup"], &["check"]] {
        let mut command = command(args, &peer.url, dir.path());
        let (code, out, err) = finish(command.envs(misspelled).spawn().unwrap()).await;
        assert_eq!(code, Some(if args == ["check"] { 2 } else { 0 }), "{args:?}: {err}");
        for meant in ["RETAIN_HOURLY", "QDRANT_API_KEY"] {
            assert_eq!(err.matches(meant).count(), 1, "{args:?}: {err}");
        }
        assert!(!(out + &err).contains(SECRET), "{args:?}");
    }
    let mut misspelling = command(&["check", "--json"], &peer.url, dir.path());
    let (code, found, text) = check(misspelling.envs(misspelled)).await;
    assert_eq!(code, Some(2), "{text}");
    let failed = found
        .iter()
        .filter(|(check, state)| check == "configuration" && state == "fail");
    assert_eq!(failed.count(), 2, "{text}");
    assert!(text.contains("RETAIN_HOURLY"), "{text}");
    assert!(!found.contains(&("configuration".into(), "ok".into())), "{text}");
}
