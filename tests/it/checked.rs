//! What `check` says of each kind of key, and of names that are too long.

use crate::screens;
use serde_json::Value;
use std::fmt::Write;
use testkit::peer::Peer;
use testkit::process::{command, finish};
use testkit::screen::screen_with;

const KEY: &str = "the-full-key";

#[tokio::test]
async fn each_kind_of_key_is_tried_on_each_collection() {
    let mut screens = String::new();
    for (kind, key, scope) in [
        ("the full key", KEY, &[][..]),
        ("a read-only key", KEY, &[]),
        ("rw on both", "token", &[("articles", true), ("logs", true)]),
        ("rw on one of two", "token", &[("articles", true)]),
        (
            "rw on one, r on the other",
            "token",
            &[("articles", true), ("logs", false)],
        ),
        ("r on both", "token", &[("articles", false), ("logs", false)]),
        ("for nothing that is there", "token", &[("others", true)]),
        ("no key", "", &[]),
        ("a wrong key", "wrong", &[]),
    ] {
        let peer = Peer::start(&[("articles", 1000), ("logs", 1000)]).await;
        {
            let mut peer = peer.lock();
            peer.api_key = Some(KEY.to_owned());
            peer.read_only = kind == "a read-only key";
            let scope = scope.iter().map(|(name, writes)| ((*name).to_owned(), *writes));
            peer.tokens.insert("token".to_owned(), scope.collect());
        }
        let dir = tempfile::tempdir().unwrap();
        let screen = screen_with(&["check"], &peer.url, dir.path(), &[("QDRANT_API_KEY", key)]).await;
        writeln!(screens, "## {kind}\n{screen}").unwrap();
        let made: Vec<_> = ["articles", "logs"].map(|name| peer.snapshots(name).len()).into();
        assert_eq!(made, [0, 0], "{kind}");
    }
    screens::holds("check_with_each_kind_of_key", &screens);
}

#[tokio::test]
async fn names_that_are_too_long_are_told_before_a_backup_and_a_restore_fail_for_them() {
    let long = "n".repeat(181);
    let peer = Peer::start(&[("short", 1000), (&long[..180], 1000), (&long, 1000)]).await;
    let dir = tempfile::tempdir().unwrap();
    let json = async |args: &[&str]| {
        let (code, out, err) = finish(command(args, &peer.url, dir.path()).spawn().unwrap()).await;
        let report: Value = serde_json::from_str(&out).unwrap_or_else(|_| panic!("{out}{err}"));
        (code, report)
    };
    let (code, report) = json(&["check", "--json"]).await;
    let lines = report["checks"].as_array().unwrap();
    let told: Vec<_> = lines.iter().filter(|line| line["state"] == "warn").collect();
    assert!(
        code == Some(0) && told.len() == 1 && told[0]["check"] == "plan",
        "{report}"
    );
    assert!(told[0]["message"].as_str().unwrap().starts_with("1 name"), "{report}");

    assert_eq!(json(&["backup", "short", "--json"]).await.0, Some(0));
    for (into, warnings) in [(&long[..180], 0), (&long, 1)] {
        let into = format!("{into}-2");
        let into = &into[2..];
        let (_, plan) = json(&["restore", "latest", "--into", into, "--dry-run", "--json"]).await;
        let told = plan["warnings"].as_array().unwrap().iter();
        let told = told.filter(|warning| warning.as_str().unwrap().contains("181 bytes"));
        assert_eq!(told.count(), warnings, "{plan}");
    }
}
