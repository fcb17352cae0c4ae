//! The configuration file as an operator meets it: precedence, what is refused, and `config show`.

use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;
use tempfile::TempDir;
use testkit::peer::Peer;
use testkit::process::{End, binary, finish};
use tokio::process::Command;

const SECRET: &str = "s3cr3t-key";

/// The binary with these variables and no others.
async fn run(args: &[&str], env: &[(&str, &str)]) -> End {
    let mut command = Command::new(binary());
    command.args(args).env_clear().envs(env.iter().copied());
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    finish(command.spawn().unwrap()).await
}

/// A file of that content.
fn file(dir: &TempDir, text: &str) -> String {
    let path = dir.path().join("qdrant-backup.toml");
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

/// What `config show` says of a setting: value, source and place.
async fn shown(args: &[&str], env: &[(&str, &str)], variable: &str) -> Value {
    let (code, out, err) = run(&[&["config", "show", "--json"], args].concat(), env).await;
    assert_eq!(code, Some(0), "{err}");
    let shown: Value = serde_json::from_str(&out).unwrap();
    let settings = shown["settings"].as_array().unwrap();
    let found = settings.iter().find(|setting| setting["variable"] == variable);
    found.cloned().unwrap_or_default()
}

#[tokio::test]
async fn a_backup_is_made_by_a_file_alone_and_the_variable_may_name_it() {
    let peer = Peer::start(&[("docs", 1000), ("logs", 10)]).await;
    let dir = tempfile::tempdir().unwrap();
    let path = file(
        &dir,
        &format!(
            "qdrant_url = {:?}\nbackup_store = \"file://{}\"\nbackup_include = [\"docs\"]\nbackup_concurrency = 1\n",
            peer.url,
            dir.path().display()
        ),
    );
    let (code, out, err) = run(&["backup", "--json", "--config", &path], &[]).await;
    assert_eq!(code, Some(0), "{out}{err}");
    let report: Value = serde_json::from_str(&out).unwrap();
    let names: Vec<_> = report["collections"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| &c["name"])
        .collect();
    assert_eq!(names, ["docs"]);
    let (code, out, err) = run(&["list"], &[("QDRANT_BACKUP_CONFIG", path.as_str())]).await;
    assert!(code == Some(0) && out.contains("only docs"), "{out}{err}");
}

#[tokio::test]
async fn a_flag_goes_before_a_variable_a_variable_before_the_file_and_the_file_before_the_default() {
    let dir = tempfile::tempdir().unwrap();
    let path = file(&dir, "\nbackup_max_age = \"3h\"\nretain_daily = 7\n");
    let config = ["--config", path.as_str()];
    let told = async |args: &[&str], env: &[(&str, &str)]| {
        let mut found = shown(args, env, "BACKUP_MAX_AGE").await;
        [found["value"].take(), found["source"].take(), found["place"].take()]
    };
    let flag = ["--config", path.as_str(), "--max-age", "1h"];
    let variable = [("BACKUP_MAX_AGE", "2h")];
    assert_eq!(
        told(&flag, &variable).await,
        [json!("1h"), json!("flag"), json!("--max-age")]
    );
    assert_eq!(
        told(&config, &variable).await,
        [json!("2h"), json!("variable"), json!(null)]
    );
    let place = format!("{path}:2");
    assert_eq!(
        told(&config, &[("BACKUP_MAX_AGE", "")]).await,
        [json!("3h"), json!("file"), json!(place)]
    );
    assert_eq!(told(&[], &[]).await, [json!("26h"), json!("default"), json!(null)]);
}

#[tokio::test]
async fn what_is_shown_has_no_secret_and_says_where_each_value_is_from() {
    let dir = tempfile::tempdir().unwrap();
    let path = file(&dir, "qdrant_url = \"http://me:pass@q:6333\"\n");
    let env = [
        ("QDRANT_API_KEY", SECRET),
        ("DRILL_QDRANT_API_KEY", SECRET),
        ("RESTORE_QDRANT_API_KEY", SECRET),
    ];
    let (code, out, err) = run(&["config", "show", "--config", &path, "--store", "gs://b/p"], &env).await;
    assert_eq!(code, Some(0), "{err}");
    let line = |name: &str| {
        out.lines()
            .find(|line| line.starts_with(&format!("{name} ")))
            .unwrap()
            .to_owned()
    };
    assert!(line("QDRANT_API_KEY").ends_with("(hidden)"), "{out}");
    assert!(
        line("BACKUP_STORE").contains("flag --store") && line("BACKUP_STORE").ends_with("gs://b/p"),
        "{out}"
    );
    assert!(
        line("QDRANT_URL").contains(":1 ") && line("QDRANT_URL").ends_with("http://…@q:6333"),
        "{out}"
    );
    assert!(line("BACKUP_CONCURRENCY").ends_with(" 2"), "{out}");
    let (_, json, _) = run(&["config", "show", "--json", "--config", &path], &env).await;
    for text in [&out, &json, &err] {
        assert!(!text.contains(SECRET) && !text.contains("pass@"), "{text}");
    }
    let key = shown(&[], &env, "QDRANT_API_KEY").await;
    assert_eq!(
        (&key["value"], &key["source"], &key["secret"]),
        (&json!(null), &json!("variable"), &json!(true))
    );
}

#[tokio::test]
async fn a_broken_file_stops_every_command_with_line_and_remedy() {
    let dir = tempfile::tempdir().unwrap();
    let text =
        format!("qdrant_url = \"http://127.0.0.1:1\"\nbackup_stroe = \"file:///b\"\nqdrant_api_key = {SECRET:?}\n");
    let path = file(&dir, &text);
    let with = ["--config", path.as_str()];
    for args in [&["list"][..], &["backup"], &["config", "show"], &["serve"]] {
        let (code, out, err) = run(&[args, &with].concat(), &[]).await;
        assert_eq!((code, out.as_str()), (Some(2), ""), "{args:?}: {err}");
        for told in [
            "line 2: unknown key backup_stroe (write backup_store, or leave it out)",
            "line 3: qdrant_api_key is a secret, and this file holds none (name a file that holds it by qdrant_api_key_file",
        ] {
            assert!(err.contains(told), "{args:?}: {err}");
        }
        assert!(!err.contains(SECRET), "{err}");
    }
    let (code, out, _) = run(&[&["check", "--json"], &with[..]].concat(), &[]).await;
    let report: Value = serde_json::from_str(&out).unwrap();
    let failed: Vec<_> = report["checks"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|c| c["state"] == "fail")
        .collect();
    assert_eq!((code, failed.len()), (Some(2), 2), "{out}");
    for args in [&["version"][..], &["completions", "bash"]] {
        assert_eq!(run(&[args, &with].concat(), &[]).await.0, Some(0), "{args:?}");
    }
    for missing in ["/nonexistent.toml", dir.path().to_str().unwrap()] {
        let (code, _, err) = run(&["list", "--config", missing], &[]).await;
        assert!(
            code == Some(2) && err.contains("--config=") && err.contains("cannot be read"),
            "{err}"
        );
    }
}

#[tokio::test]
async fn an_error_in_a_value_names_file_line_and_key() {
    let dir = tempfile::tempdir().unwrap();
    let path = file(
        &dir,
        "# all\nbackup_concurrency = 0\nqdrant_url = \"q:1\"\nbackup_store = \"gs://b\"\n",
    );
    let (code, _, err) = run(&["backup", "--config", &path], &[]).await;
    assert_eq!(code, Some(2));
    for told in [
        format!("{path}:2: backup_concurrency=\"0\" "),
        format!("{path}:3: qdrant_url=\"q:1\" "),
    ] {
        assert!(err.contains(&told), "{told}: {err}");
    }
    // The variable that goes before it is named as ever.
    let (_, _, err) = run(&["backup", "--config", &path], &[("BACKUP_CONCURRENCY", "-1")]).await;
    assert!(
        err.contains("BACKUP_CONCURRENCY=\"-1\"") && !err.contains(":2:"),
        "{err}"
    );
}

#[tokio::test]
async fn what_goes_before_the_file_goes_before_its_other_form_too_and_no_key_goes_to_another_qdrant() {
    let peer = Peer::start(&[("docs", 1000)]).await;
    let other = Peer::start(&[("docs", 1000)]).await;
    let dir = tempfile::tempdir().unwrap();
    let key = dir.path().join("key");
    std::fs::write(&key, SECRET).unwrap();
    let text = format!(
        "qdrant_url = {:?}\nqdrant_api_key_file = {:?}\nbackup_store = \"file://{}\"\n",
        peer.url,
        key.display().to_string(),
        dir.path().display()
    );
    let path = file(&dir, &text);
    peer.lock().api_key = Some("another".into());
    // The key of a variable, in the place of the file's.
    let (code, _, err) = run(&["backup", "--config", &path], &[("QDRANT_API_KEY", "another")]).await;
    assert_eq!(code, Some(0), "{err}");
    let elsewhere = [("QDRANT_URL", other.url.as_str())];
    for (args, env) in [(&[][..], &elsewhere[..]), (&["--qdrant-url", other.url.as_str()], &[])] {
        let (code, _, err) = run(&[&["backup", "--config", &path], args].concat(), env).await;
        assert!(
            code == Some(2) && err.contains("qdrant_api_key_file is the key of the Qdrant that the file names"),
            "{err}"
        );
    }
    assert_eq!(other.requests("/"), 0);
    let (host, port) = other.url.trim_start_matches("http://").split_once(':').unwrap();
    let env = [("QDRANT_HOST", host), ("QDRANT_PORT", port), ("QDRANT_API_KEY", "x")];
    assert_eq!(
        run(&["backup", "--config", &path, "--new-source"], &env).await.0,
        Some(0)
    );
    assert!(other.requests("/") > 0, "the Qdrant of the older variables");
}

#[tokio::test]
async fn a_file_that_every_user_may_change_is_warned_of() {
    let dir = tempfile::tempdir().unwrap();
    let path = file(&dir, "backup_max_age = \"3h\"\n");
    let warned = async || {
        let (_, _, err) = run(&["config", "show", "--config", &path], &[]).await;
        err.contains("every user of this machine may change")
    };
    let mode = |mode| std::fs::set_permissions(Path::new(&path), PermissionsExt::from_mode(mode)).unwrap();
    mode(0o644);
    assert!(!warned().await, "it holds no secret");
    mode(0o646);
    assert!(warned().await);
}
