//! The flags of settings: they go before their variables, and errors name what was given.

use crate::told::commands;
use std::path::Path;
use testkit::peer::Peer;
use testkit::process::{command, finish};

const SECRET: &str = "s3cr3t-key";

async fn run(args: &[&str], qdrant: &str, store: &Path, env: &[(&str, &str)]) -> (i32, String, String) {
    let mut command = command(args, qdrant, store);
    let (code, out, err) = finish(command.envs(env.iter().copied()).spawn().unwrap()).await;
    (code.unwrap(), out, err)
}

#[tokio::test]
async fn a_flag_goes_before_its_variable_and_the_older_form_of_that() {
    let peer = Peer::start(&[("docs", 1000)]).await;
    let dir = tempfile::tempdir().unwrap();
    let store = format!("file://{}", dir.path().display());
    let args = ["backup", "--qdrant-url", &peer.url, "--store", &store];
    let flags = [&args[..], &["--concurrency", "1", "--source-name", "here"]].concat();
    for wrong in [
        &[
            ("QDRANT_URL", "nowhere"),
            ("BACKUP_STORE", "nowhere"),
            ("BACKUP_CONCURRENCY", "0"),
        ][..],
        &[
            ("QDRANT_URL", ""),
            ("BACKUP_STORE", ""),
            ("QDRANT_HOST", "other"),
            ("GCS_BUCKET_NAME", "other"),
        ],
    ] {
        let (code, out, err) = run(&flags, "unused", dir.path(), wrong).await;
        assert_eq!(code, 0, "{out}{err}");
    }
    let (_, out, _) = run(&["show", "latest", "--json", "--store", &store], "", dir.path(), &[]).await;
    let shown: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(shown["qdrant"]["source"]["name"], "here", "{shown}");
}

#[tokio::test]
async fn an_error_names_the_flag_or_the_variable_whichever_was_given() {
    let dir = tempfile::tempdir().unwrap();
    let flags = [
        "backup",
        "--store",
        "nowhere",
        "--concurrency",
        "0",
        "--max-mbps=fast",
        "--qdrant-url",
        "q:1",
    ];
    let (code, _, err) = run(&flags, "http://127.0.0.1:1", dir.path(), &[]).await;
    assert_eq!(code, 2, "{err}");
    for told in [
        "  --store=\"nowhere\" ",
        "  --concurrency=\"0\" ",
        "  --max-mbps=\"fast\" ",
        "  --qdrant-url=\"q:1\" ",
    ] {
        assert!(err.contains(told), "{told}: {err}");
    }
    assert!(
        !err.contains("BACKUP_CONCURRENCY") && !err.contains("BACKUP_MAX_MBPS"),
        "{err}"
    );
    let variable = [("BACKUP_CONCURRENCY", "0")];
    let (code, _, err) = run(&["backup"], "http://127.0.0.1:1", dir.path(), &variable).await;
    assert!(code == 2 && err.contains("  BACKUP_CONCURRENCY=\"0\" "), "{err}");
    let (code, _, err) = run(&["list"], "", dir.path(), &[("BACKUP_STORE", "")]).await;
    assert!(
        code == 2 && err.contains("BACKUP_STORE") && err.contains("--store"),
        "{err}"
    );
}

#[tokio::test]
async fn a_flag_without_a_value_or_without_a_meaning_is_refused() {
    let peer = Peer::start(&[("docs", 1000)]).await;
    let dir = tempfile::tempdir().unwrap();
    let both = ["restore", "latest", "--to", "http://q", "--qdrant-url", "http://r"];
    for (args, told) in [
        // As of an unset variable in a script: the environment does not take its place.
        (&["list", "--store", ""][..], "--store"),
        (&["list", "--store= "], "--store"),
        (&["list", "--qdrant-url", "http://q"], "--qdrant-url"),
        (&["backup", "--qdrant-api-key", SECRET], "--qdrant-api-key"),
        (&both, "--qdrant-url <URL>"),
        (&["restore", "latest", "--to-api-key-file", "/f"], "--to <URL>"),
    ] {
        let (code, out, err) = run(args, &peer.url, dir.path(), &[]).await;
        assert_eq!((code, out.as_str()), (2, ""), "{args:?}: {err}");
        assert!(err.contains(told), "{args:?}: {err}");
    }
}

#[tokio::test]
async fn the_key_of_the_variables_is_not_sent_to_the_qdrant_of_a_flag() {
    let (peer, other) = (
        Peer::start(&[("docs", 1000)]).await,
        Peer::start(&[("docs", 1000)]).await,
    );
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("key");
    std::fs::write(&file, "other-key\n").unwrap();
    other.lock().api_key = Some("other-key".into());
    let to_other = ["status", "--qdrant-url", other.url.as_str()];
    let key = [("QDRANT_API_KEY", SECRET)];
    let (code, out, err) = run(&to_other, &peer.url, dir.path(), &key).await;
    assert_eq!(code, 2, "{out}{err}");
    assert!(
        err.contains("QDRANT_API_KEY") && err.contains("--qdrant-api-key-file"),
        "{err}"
    );
    assert!(
        !(out + &err).contains(SECRET) && other.requests("/collections") == 0,
        "{err}"
    );

    let with_key = [
        &to_other[..],
        &["--json", "--qdrant-api-key-file", file.to_str().unwrap()],
    ]
    .concat();
    let (code, out, err) = run(&with_key, &peer.url, dir.path(), &key).await;
    assert_eq!(code, 1, "{out}{err}");
    let report: serde_json::Value = serde_json::from_str(&out).unwrap();
    let docs = &report["collections"][0];
    assert_eq!(
        (&docs["name"], &docs["state"]),
        (&"docs".into(), &"missing".into()),
        "{report}"
    );
    // Where the variables name the same one, or none, it is its key.
    for url in [other.url.clone() + "/", String::new()] {
        let (code, _, err) = run(&to_other, &url, dir.path(), &[("QDRANT_API_KEY", "other-key")]).await;
        assert_eq!(code, 1, "{err}");
    }
}

#[tokio::test]
async fn the_policy_of_a_prune_can_be_given_as_flags() {
    let peer = Peer::start(&[("docs", 1000)]).await;
    let dir = tempfile::tempdir().unwrap();
    for _ in 0..2 {
        assert_eq!(run(&["backup"], &peer.url, dir.path(), &[]).await.0, 0);
    }
    let args = ["prune", "--json", "--retain-last", "1", "--retain-min-age-hours", "0"];
    let (code, out, err) = run(&args, "", dir.path(), &[("RETAIN_LAST", "7")]).await;
    assert_eq!(code, 0, "{err}");
    let outcome: serde_json::Value = serde_json::from_str(&out).unwrap();
    let kept: Vec<_> = outcome["plan"]["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| &item["keep"])
        .collect();
    assert_eq!(kept, [&true, &false], "{out}");
    let (code, _, err) = run(&["prune", "--retain-daily", "all"], "", dir.path(), &[]).await;
    assert!(code == 2 && err.contains("--retain-daily=\"all\""), "{err}");
}

#[tokio::test]
async fn a_command_to_be_pasted_goes_to_the_same_store_and_qdrant() {
    let peer = Peer::start(&[("docs", 1000)]).await;
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let store = format!("file://{}", dir.path().display());
    let flags = ["--qdrant-url", &peer.url, "--store", &store];
    let run = async |args: &[&str]| run(args, "http://127.0.0.1:1", other.path(), &[]).await;
    assert_eq!(run(&[&["backup"], &flags[..]].concat()).await.0, 0);
    // It is there, and has points.
    let (code, out, err) = run(&[&["restore", "latest", "docs"], &flags[..]].concat()).await;
    assert_eq!(code, 11, "{out}{err}");
    let text = out + &err;
    let offered = commands(&text);
    let has = |command: &[String], pair: &[&str]| command.windows(2).any(|words| words == pair);
    let there = |command: &Vec<String>| flags.chunks(2).all(|flag| has(command, flag));
    assert!(!offered.is_empty() && offered.iter().all(there), "{text}");
    let policy = [
        "prune",
        "--retain-last",
        "1",
        "--store",
        &store,
        "--retain-min-age-hours",
        "0",
    ];
    let (code, out, err) = run(&policy).await;
    assert_eq!(
        (code, commands(&out).len()),
        (0, 0),
        "nothing is to be deleted: {out}{err}"
    );
    assert_eq!(run(&[&["backup"], &flags[..]].concat()).await.0, 0);
    let (_, out, _) = run(&policy).await;
    let [command] = &commands(&out)[..] else {
        panic!("{out}");
    };
    assert_eq!(command[..2], ["prune", "--yes"], "{out}");
    assert!(policy[1..].chunks(2).all(|flag| has(command, flag)), "{out}");
}

#[tokio::test]
async fn log_flags_stand_before_or_behind_the_command_and_go_before_the_filter() {
    let peer = Peer::start(&[("docs", 1000)]).await;
    let dir = tempfile::tempdir().unwrap();
    let filter = [("RUST_LOG", "info")];
    let (_, _, err) = run(&["backup"], &peer.url, dir.path(), &filter).await;
    assert!(err.contains(" INFO "), "{err}");
    for args in [["--log-level", "error", "backup"], ["backup", "--log-level", "error"]] {
        assert_eq!(run(&args, &peer.url, dir.path(), &filter).await.2, "");
    }
    let (_, _, err) = run(&["backup", "--log-format", "json"], &peer.url, dir.path(), &[]).await;
    let first: serde_json::Value = serde_json::from_str(err.lines().next().unwrap()).unwrap();
    assert_eq!(first["severity"], "INFO", "{err}");
}

#[tokio::test]
async fn the_help_names_the_variables_and_shows_no_value() {
    let dir = tempfile::tempdir().unwrap();
    let env = [
        ("QDRANT_API_KEY_FILE", SECRET),
        ("BACKUP_SOURCE_NAME", SECRET),
        ("QDRANT_API_KEY", SECRET),
    ];
    for args in [&["backup", "--help"][..], &["backup", "-h"], &["serve", "--help"]] {
        let (code, out, err) = run(args, SECRET, dir.path(), &env).await;
        assert_eq!(code, 0, "{err}");
        assert!(
            out.contains("--store <URL>") && out.contains("[env: BACKUP_STORE]"),
            "{out}"
        );
        assert!(!(out + &err).contains(SECRET));
    }
}
