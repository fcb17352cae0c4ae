//! What programs read: errors as the API has them, the version, progress as lines of JSON.

use serde_json::{Value, json};
use testkit::peer::{Create, Peer};
use testkit::process::{command, finish};

const NOBODY: &str = "http://127.0.0.1:1";

#[tokio::test]
async fn every_command_that_prints_json_prints_the_error_of_the_api_when_it_fails() {
    let peer = Peer::start(&[("docs", 1000)]).await;
    let dir = tempfile::tempdir().unwrap();
    for (args, exit, code) in [
        (&["backup", "--json"][..], 6, "qdrant_unreachable"),
        (&["backup", "--dry-run", "--json"], 6, "qdrant_unreachable"),
        (&["status", "--json"], 6, "qdrant_unreachable"),
        (&["show", "latest", "--json"], 8, "backup_not_found"),
        (&["verify", "latest", "--json"], 8, "backup_not_found"),
        (&["delete", "2026-11-22", "--json"], 8, "backup_not_found"),
        (&["restore", "latest", "--json"], 8, "backup_not_found"),
        (&["restore", "latest", "--dry-run", "--json"], 8, "backup_not_found"),
        (&["drill", "latest", "--json"], 11, "restore_refused"),
        (&["drill", "latest", "--same-qdrant", "--json"], 8, "backup_not_found"),
        (
            &["list", "--json", "--store", "file:///nonexistent"],
            7,
            "store_missing",
        ),
        (
            &["prune", "--json", "--store", "file:///nonexistent"],
            7,
            "store_missing",
        ),
        (&["list", "--json", "--store", "nowhere"], 2, "config_invalid"),
        (&["list", "--json", "--config", "/nonexistent"], 2, "config_invalid"),
    ] {
        let qdrant = if code == "backup_not_found" {
            peer.url.as_str()
        } else {
            NOBODY
        };
        let (got, out, err) = finish(command(args, qdrant, dir.path()).spawn().unwrap()).await;
        assert_eq!(got, Some(exit), "{args:?}: {err}");
        let told: Value = serde_json::from_str(&out).unwrap_or_else(|e| panic!("{args:?}: {e}: {out:?}"));
        assert_eq!(told["error"]["code"], code, "{args:?}: {told}");
        assert!(
            told["error"]["message"].is_string() && told["error"].get("remedy").is_some(),
            "{told}"
        );
        assert!(
            err.starts_with("error: ") || err.contains("\nerror: "),
            "people read it as ever: {err}"
        );
    }
}

#[tokio::test]
async fn a_report_of_what_failed_stands_beside_its_error_in_one_document() {
    let peer = Peer::start(&[("docs", 1000), ("logs", 10)]).await;
    let dir = tempfile::tempdir().unwrap();
    let run = async |args: &[&str]| {
        let (code, out, err) = finish(command(args, &peer.url, dir.path()).spawn().unwrap()).await;
        let told: Value = serde_json::from_str(&out).unwrap_or_else(|e| panic!("{args:?}: {e}: {out:?} {err}"));
        (code, told)
    };
    peer.on_create("docs", [Create::Forbidden]);
    let (code, told) = run(&["backup", "--json"]).await;
    assert_eq!((code, &told["error"]["code"]), (Some(3), &json!("backup_partial")));
    assert_eq!(told["report"]["failed"][0]["collection"], "docs");
    let (code, told) = run(&["verify", "all", "--json"]).await;
    assert_eq!((code, &told["error"]["code"]), (Some(9), &json!("backup_damaged")));
    assert!(told["report"]["backups"].is_array(), "{told}");
    // What went well has its own shape.
    let (code, told) = run(&["backup", "--json"]).await;
    assert_eq!(
        (code, &told["status"], told.get("error")),
        (Some(0), &json!("complete"), None)
    );
    let (code, told) = run(&["restore", "latest", "--dry-run", "--json"]).await;
    assert_eq!(
        (code, &told["error"]["code"]),
        (Some(11), &json!("restore_refused")),
        "{told}"
    );
    assert!(told["plan"]["refusals"].is_array(), "{told}");
    let (code, told) = run(&["delete", "latest", "--json"]).await;
    assert_eq!((code, &told["error"]["code"]), (Some(11), &json!("delete_refused")));
    assert_eq!(told["backup"]["keep"], true, "{told}");
}

#[tokio::test]
async fn the_version_is_told_to_programs() {
    let dir = tempfile::tempdir().unwrap();
    let (code, out, _) = finish(command(&["version", "--json"], NOBODY, dir.path()).spawn().unwrap()).await;
    let told: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(code, Some(0));
    assert_eq!(told["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(told["formats"]["manifest"], 1);
    assert!(told.get("commit").is_some(), "{told}");
    let (_, out, _) = finish(command(&["version"], NOBODY, dir.path()).spawn().unwrap()).await;
    assert!(
        out.starts_with(&format!("qdrant-backup {}", env!("CARGO_PKG_VERSION"))),
        "{out}"
    );
}

#[tokio::test]
async fn progress_is_lines_of_json_among_a_log_in_json() {
    let peer = Peer::start(&[("docs", 3 << 20), ("logs", 10)]).await;
    let dir = tempfile::tempdir().unwrap();
    let run = async |args: &[&str], env: &[(&str, &str)]| {
        let mut command = command(args, &peer.url, dir.path());
        finish(command.envs(env.iter().copied()).spawn().unwrap()).await
    };
    let (code, out, err) = run(&["backup", "--json", "--progress", "json"], &[]).await;
    assert_eq!(code, Some(0), "{err}");
    let report: Value = serde_json::from_str(&out).unwrap();
    let lines: Vec<Value> = err.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |event: &str| lines.iter().filter(|line| line["event"] == event).collect::<Vec<_>>();
    let last = of("progress").last().copied().cloned().unwrap();
    assert_eq!(
        (&last["operation"], &last["backup"], &last["units"], &last["units_done"]),
        (&json!("backup"), &report["id"], &json!(2), &json!(2)),
        "{last}"
    );
    assert_eq!(
        (&last["bytes_done"], &last["bytes_total"]),
        (&json!((3 << 20) + 10), &json!((3 << 20) + 10))
    );
    for name in ["docs", "logs"] {
        let phases = of("unit_progress");
        let last = phases.iter().rfind(|line| line["name"] == name).unwrap();
        assert_eq!(last["phase"], "saved", "{last}");
    }
    for line in of("progress").into_iter().chain(of("unit_progress")) {
        let at = line["at"].as_str().unwrap();
        assert!(
            time::OffsetDateTime::parse(at, &time::format_description::well_known::Rfc3339).is_ok(),
            "{line}"
        );
    }
    assert_eq!(of("backup_finished").len(), 1, "{err}");
    // The others speak the same.
    for (args, end) in [
        (&["drill", "latest", "--same-qdrant"][..], "restored"),
        (&["restore", "latest", "--into", "{}-copy"], "restored"),
        (&["verify", "latest"], "failed"), // the peer's bytes are no snapshot
    ] {
        let (_, _, err) = run(&[args, &["--progress", "json"]].concat(), &[("LOG_FORMAT", "text")]).await;
        let told = err.lines().filter(|line| line.starts_with('{'));
        let told: Vec<Value> = told.map(|line| serde_json::from_str(line).unwrap()).collect();
        let ended = told
            .iter()
            .filter(|l| l["event"] == "unit_progress" && l["phase"] == end);
        assert_eq!(ended.count(), 2, "{args:?}: {err}");
        assert_eq!(told.last().unwrap()["event"], "progress", "{args:?}: {err}");
        assert_eq!(told.last().unwrap()["operation"], args[0], "{args:?}");
    }
}

#[tokio::test]
async fn quiet_tells_nothing_but_the_result_and_verbose_tells_more() {
    let peer = Peer::start(&[("docs", 1000)]).await;
    let dir = tempfile::tempdir().unwrap();
    let run = async |args: &[&str], env: &[(&str, &str)]| {
        let mut command = command(args, &peer.url, dir.path());
        let (code, out, err) = finish(command.envs(env.iter().copied()).spawn().unwrap()).await;
        (code, out.contains("is complete"), err)
    };
    // Whatever the environment says.
    let (code, done, err) = run(&["backup", "-q"], &[("LOG_LEVEL", "debug")]).await;
    assert_eq!((code, done, err.as_str()), (Some(0), true, ""));
    let (code, _, plain) = run(&["backup"], &[]).await;
    assert!(
        code == Some(0) && plain.contains("INFO") && !plain.contains("DEBUG"),
        "{plain}"
    );
    let (code, _, err) = run(&["backup", "-v"], &[("LOG_LEVEL", "error")]).await;
    assert!(code == Some(0) && err.contains("INFO"), "{err}");
    let (code, _, err) = run(&["backup", "-q", "-v"], &[]).await;
    assert_eq!(code, Some(2), "{err}");
}
