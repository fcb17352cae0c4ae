//! Before points are replaced somebody is asked, or has said beforehand that this is meant.

use qdrant_backup::base::error::Code;
use qdrant_backup::ops::restore::{self, RestoreRequest};
use std::collections::BTreeSet;
use testkit::lost::Lost;
use testkit::process::{End, command, finish, on_terminal};

/// `a` has other points than the backup.
async fn lost() -> Lost {
    let lost = Lost::new().await;
    lost.peer.lock().collections.entry("a".into()).or_default().points = 1500;
    lost
}

fn points(lost: &Lost) -> u64 {
    lost.peer.lock().collections["a"].points
}

async fn run(lost: &Lost, args: &[&str]) -> End {
    finish(command(args, &lost.peer.url, lost.bench.dir.path()).spawn().unwrap()).await
}

#[tokio::test]
async fn without_a_terminal_nothing_is_replaced_unless_told() {
    let lost = lost().await;
    for more in [
        &["--overwrite"][..],
        &["--overwrite", "--json"],
        &["--overwrite-only", "a"],
    ] {
        let args = [&["restore", "latest", "a"], more].concat();
        let (code, out, err) = run(&lost, &args).await;
        assert_eq!(code, Some(11), "{more:?}: {out}{err}");
        assert!(
            err.contains("would replace 1,500 points of \"a\"") && err.contains("--yes"),
            "{err}"
        );
        assert_eq!(
            out.contains("REPLACES 1,500 points of \"a\"; --swap"),
            !more.contains(&"--json"),
            "{out}"
        );
        assert_eq!((points(&lost), lost.peer.requests("/snapshots/upload")), (1500, 0));
    }
    for (more, after) in [(&["--dry-run"][..], 1500), (&["--yes"], 100)] {
        let args = [&["restore", "latest", "a", "--overwrite"], more].concat();
        let (code, out, err) = run(&lost, &args).await;
        assert_eq!((code, points(&lost)), (Some(0), after), "{out}{err}");
    }
}

#[tokio::test]
async fn what_replaces_nothing_asks_nobody() {
    let lost = lost().await;
    let (code, out, err) = run(&lost, &["restore", "latest", "b", "--overwrite"]).await;
    assert_eq!(code, Some(0), "{out}{err}");
    assert!(!out.contains("REPLACES"), "{out}");
    let (code, out, err) = run(&lost, &["restore", "latest", "a", "--into", "c"]).await;
    assert_eq!(code, Some(0), "{out}{err}");
}

#[tokio::test]
async fn on_a_terminal_the_answer_decides() {
    for (typed, exit, after) in [("n\n", 10, 1500), ("\n", 10, 1500), ("yes\n", 0, 100)] {
        let lost = lost().await;
        let args = ["restore", "latest", "a", "--overwrite"];
        let (code, out, err) = on_terminal(&args, &lost.peer.url, lost.bench.dir.path(), typed).await;
        assert_eq!((code, points(&lost)), (Some(exit), after), "{typed:?}: {out}{err}");
        let (plan, question) = (
            out.find("OVERWRITES 1,500 points"),
            out.find("Replace 1,500 points of \"a\"? [y/N]"),
        );
        assert!(plan.is_some() && plan < question, "{out}");
    }
}

#[tokio::test]
async fn what_has_got_points_since_the_question_is_not_replaced() {
    let lost = lost().await;
    for (agreed, is_refused) in [
        (None, false),
        (Some(&["a"][..]), false),
        (Some(&["b"]), true),
        (Some(&[]), true),
    ] {
        let agreed = agreed.map(|names| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>());
        let request = RestoreRequest {
            overwrite: true,
            agreed,
            ..lost.request()
        };
        let plan = restore::plan(&lost.bench.ctx, &request).await.unwrap();
        let code = plan.error().map(|error| error.code());
        assert_eq!(code, is_refused.then_some(Code::RestoreRefused), "{plan}");
    }
}
