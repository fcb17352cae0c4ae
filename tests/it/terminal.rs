//! What depends on the terminal and the shell: colours, completions, and tables that fit.

use qdrant_backup::config::colours;
use serde_json::json;
use std::collections::HashMap;
use std::path::Path;
use std::process::Stdio;
use testkit::peer::Peer;
use testkit::process::{command, finish};
use tokio::process::Command;

const ESCAPE: char = '\u{1b}';

#[test]
fn colours_are_for_terminals_unless_the_environment_says_otherwise() {
    for (env, is_terminal, wanted) in [
        (&[][..], true, true),
        (&[], false, false),
        (&[("NO_COLOR", "1")], true, false),
        (&[("NO_COLOR", "")], true, true),
        (&[("CLICOLOR_FORCE", "1")], false, true),
        (&[("CLICOLOR_FORCE", "0")], false, false),
        (&[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")], true, false),
    ] {
        let env: HashMap<&str, &str> = env.iter().copied().collect();
        let read = |name: &str| env.get(name).map(|value| (*value).to_owned());
        assert_eq!(colours(&read, is_terminal), wanted, "{env:?}");
    }
}

#[tokio::test]
async fn help_and_logs_have_colours_only_where_they_are_wanted() {
    let peer = Peer::start(&[("docs", 1000)]).await;
    let dir = tempfile::tempdir().unwrap();
    for (env, wanted) in [
        (&[][..], false),
        (&[("CLICOLOR_FORCE", "1")], true),
        (&[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")], false),
    ] {
        for args in [&["--help"][..], &["backup"]] {
            let mut command = command(args, &peer.url, dir.path());
            let (code, out, err) = finish(command.envs(env.iter().copied()).spawn().unwrap()).await;
            assert_eq!(code, Some(0), "{err}");
            let text = if args == ["--help"] { out } else { err };
            assert_eq!(text.contains(ESCAPE), wanted, "{args:?} {env:?}: {text}");
        }
    }
}

#[tokio::test]
async fn completions_need_no_configuration() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let mut command = Command::new(testkit::process::binary());
        command.args(["completions", shell]).env_clear();
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (code, out, err) = finish(child).await;
        assert_eq!((code, err.as_str()), (Some(0), ""), "{shell}");
        for word in ["qdrant-backup", "qdrant-url", "completions", "retain-daily"] {
            assert!(out.contains(word), "{shell}: {word} is missing");
        }
    }
}

#[tokio::test]
async fn each_command_has_a_manual_page() {
    let dir = tempfile::tempdir().unwrap();
    let man = async |to: &std::path::Path| {
        let mut command = Command::new(testkit::process::binary());
        command.arg("man").arg(to).env_clear();
        finish(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()).await
    };
    assert_eq!(man(dir.path()).await, (Some(0), String::new(), String::new()));
    for (page, word) in [
        ("", "restore"),
        ("-restore", "swap"),
        ("-list", "good"),
        ("-config-show", "config"),
    ] {
        let path = dir.path().join(format!("qdrant-backup{page}.1"));
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(".TH qdrant") && text.contains(word), "{page}: {text}");
    }
    let (code, _, err) = man(&dir.path().join("none")).await;
    assert_eq!(code, Some(2), "{err}");
    assert!(err.contains("none") && err.contains("exists"), "{err}");
}

/// Every mark, proof and pin at once.
#[tokio::test]
async fn the_list_tells_proof_and_pins_within_80_columns() {
    let peer = Peer::start(&[("docs", 3 << 20)]).await;
    let dir = tempfile::tempdir().unwrap();
    let run = async |args: &[&str]| {
        let (code, out, err) = finish(command(args, &peer.url, dir.path()).spawn().unwrap()).await;
        assert_eq!(code, Some(0), "{err}");
        out
    };
    run(&["backup"]).await;
    let plain = run(&["list"]).await;
    let words: Vec<_> = plain.lines().nth(1).unwrap().split_whitespace().collect();
    assert_eq!((words[3], words[4]), ("good", "stored"), "{plain}");

    let note = "before the migration, \u{1b}[31m and whatever else there is to say of it";
    run(&["pin", "latest", "--note", note]).await;
    let newest = newest(dir.path());
    let at = time::OffsetDateTime::now_utc() - time::Duration::minutes(8);
    let record = |verdict: &str| {
        let at = at.format(&time::format_description::well_known::Rfc3339).unwrap();
        json!({"verdict": verdict, "at": at}).to_string()
    };
    for (name, verdict, status, proof) in [
        ("verified.json", "intact", "good", "verified 8 min"),
        ("drilled.json", "passed", "good", "drilled 8 min"),
        ("drilled.json", "failed", "DRILL-FAILED", "verified 8 min"),
        ("verified.json", "damaged", "DAMAGED", ""),
    ] {
        std::fs::write(newest.join(name), record(verdict)).unwrap();
        let list = run(&["list"]).await;
        let lines: Vec<_> = list.lines().collect();
        assert!(
            lines[1].contains(&format!("  {status} ")) && lines[1].contains(proof),
            "{list}"
        );
        assert!(
            !proof.is_empty() || !(lines[1].contains("verified") || lines[1].contains("drilled")),
            "{list}"
        );
        assert!(
            lines[2].starts_with("  pinned by ") && lines[2].contains(": before the migration"),
            "{list}"
        );
        assert!(lines.iter().all(|line| line.chars().count() <= 80), "{list}");
        assert!(!list.contains(ESCAPE), "{list}");
    }
}

fn newest(store: &Path) -> std::path::PathBuf {
    let folders = std::fs::read_dir(store.join("backups")).unwrap();
    folders.map(|folder| folder.unwrap().path()).max().unwrap()
}
