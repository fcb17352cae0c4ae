//! The commands that are printed after a failure: pasted, they do what was asked for, where it was asked for, and no more.

use qdrant_backup::base::error::Code;
use qdrant_backup::ops::restore::{Interface, RestoreOutcome, RestoreRequest};
use qdrant_backup::repository::selection::Selection;
use rustix::process::Signal;
use std::sync::Arc;
use std::time::Duration;
use testkit::lost::Lost;
use testkit::peer::{Peer, Upload};
use testkit::process::{binary, command, finish, signal};
use testkit::service::Service;
use tokio::sync::Semaphore;

/// Another Qdrant than that of the backup, which takes its snapshots.
async fn another(lost: &Lost) -> Peer {
    let other = Peer::start(&[]).await;
    other.lock().made = lost.peer.lock().made.clone();
    other
}

/// What a report for people says to run next.
fn next(out: &str) -> &str {
    let lines: Vec<_> = out
        .lines()
        .filter_map(|line| line.trim().strip_prefix("next: "))
        .collect();
    assert_eq!(lines.len(), 1, "{out}");
    lines[0]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pasted_command_goes_where_the_failed_one_went() {
    let lost = Lost::new().await;
    lost.peer.lock().collections.entry("a".into()).or_default().points = 15;
    let other = another(&lost).await;
    let to = format!("qdrant-backup restore {} a --to {}", lost.id, other.url);
    // What the failed restore itself has made may be written over; with nothing there, there is nothing to allow.
    for (script, printed) in [
        (Upload::Full, format!("{to} --skip-existing")),
        (
            Upload::AnswerLost,
            format!("{to} --skip-existing --overwrite-only a --other-source"),
        ),
    ] {
        other.lock().collections.clear();
        other.lock().upload.push_back(script.clone());
        let args = ["restore", "latest", "a", "--to", &other.url];
        let run = command(&args, &lost.peer.url, lost.bench.dir.path()).spawn().unwrap();
        let (code, out, err) = finish(run).await;
        assert_eq!(
            (code, next(&out)),
            (Some(12), printed.as_str()),
            "{script:?}: {out}{err}"
        );
        assert!(err.contains(&printed), "{script:?}: {err}");
        assert_eq!(
            err.contains("--overwrite"),
            printed.contains("--overwrite"),
            "{script:?}: {err}"
        );

        let mut pasted = command(&[], &lost.peer.url, lost.bench.dir.path());
        let bin = binary().parent().unwrap().display().to_string();
        // Without a terminal to ask on, somebody has to say that this is meant.
        let yes = if printed.contains("--overwrite") { " --yes" } else { "" };
        let script = format!("PATH={bin}:$PATH; {}{yes}", next(&out));
        let env: Vec<_> = pasted
            .as_std_mut()
            .get_envs()
            .filter_map(|(k, v)| Some((k.to_owned(), v?.to_owned())))
            .collect();
        let pasted = tokio::process::Command::new("bash")
            .args(["-c", &script])
            .envs(env)
            .output()
            .await
            .unwrap();
        assert_eq!(pasted.status.code(), Some(0), "{pasted:?}");
        assert_eq!(other.lock().collections["a"].points, 100);
    }
    assert_eq!(lost.peer.lock().collections["a"].points, 15, "production");
    assert_eq!(lost.peer.requests("/snapshots/upload"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_prints_the_command_that_was_stopped() {
    let lost = Lost::new().await;
    let other = another(&lost).await;
    let reached = Arc::new(Semaphore::new(0));
    other.lock().upload.push_back(Upload::Held {
        reached: reached.clone(),
    });
    let args = [
        "restore",
        "latest",
        "a",
        "--to",
        &other.url,
        "--into=-{} x",
        "--via=upload",
    ];
    let run = command(&args, &lost.peer.url, lost.bench.dir.path()).spawn().unwrap();
    let begun = tokio::time::timeout(Duration::from_secs(60), reached.acquire());
    begun.await.expect("the upload never began").unwrap().forget();
    signal(&run, Signal::INT);
    let (code, out, err) = finish(run).await;
    let command = format!(
        "qdrant-backup restore {} a '--into=-{{}} x' --to {} --skip-existing --via upload",
        lost.id, other.url
    );
    assert_eq!((code, next(&out)), (Some(10), command.as_str()), "{out}{err}");
    assert!(err.contains(&format!("run it again: {command}\n")), "{err}");
}

#[tokio::test]
async fn stopped_before_anything_was_changed_it_says_so_with_the_command() {
    let lost = Lost::new().await;
    lost.bench.cancel.cancel();
    let request = RestoreRequest {
        overwrite: true,
        form: Interface::CommandLine {
            to: Some("http://other:6333".to_owned()),
            settings: [("--store", "file:///a b".to_owned())].into(),
        },
        ..lost.request()
    };
    let error = lost.run(&request).await.unwrap_err();
    assert_eq!(error.code(), Code::Cancelled);
    let command = format!(
        "qdrant-backup restore {} a --to http://other:6333 --overwrite --store 'file:///a b'",
        lost.id
    );
    assert_eq!(
        error.remedy_text(),
        Some(format!("run it again, nothing was changed: {command}").as_str())
    );
    lost.untouched();
}

#[tokio::test]
async fn collections_that_are_tried_again_alike_are_one_command() {
    let lost = Lost::new().await;
    lost.upload(Upload::AnswerLost);
    lost.upload(Upload::Full);
    let all = RestoreRequest {
        selection: Selection {
            exclude: vec!["nothing".into()],
            ..Selection::default()
        },
        ..lost.request()
    };
    let report = lost.run(&all).await.unwrap();
    let of = |rest: &str| format!("qdrant-backup restore {} {rest}", lost.id);
    // `--overwrite` would allow to write over `b`, whoever makes it until then.
    assert_eq!(
        report.next,
        [of(
            "a b --exclude nothing --skip-existing --overwrite-only a --other-source"
        )],
        "{report:?}"
    );
    lost.peer.lock().collections.clear();
    lost.upload(Upload::Full);
    lost.upload(Upload::Full);
    let report = lost.run(&all).await.unwrap();
    assert_eq!(report.next, [of("a b --exclude nothing --skip-existing")], "{report:?}");
    assert!(
        report
            .error()
            .unwrap()
            .to_string()
            .ends_with(&format!("{})", report.next[0]))
    );
}

#[tokio::test]
async fn an_empty_collection_that_was_there_before_is_not_this_runs() {
    let lost = Lost::new().await;
    lost.peer.lock().collections.entry("a".into()).or_default();
    lost.upload(Upload::AnswerLost);
    let report = lost.run(&lost.request()).await.unwrap();
    assert!(report.failed[0].state.contains("100"), "{report:?}");
    assert_eq!(
        report.failed[0].next,
        format!("qdrant-backup restore {} a --skip-existing", lost.id)
    );
}

#[tokio::test]
async fn a_failed_swap_is_tried_again_as_a_whole() {
    let lost = Lost::new().await;
    lost.peer.lock().collections.entry("a".into()).or_default();
    lost.peer.lock().aliases.push(("live".into(), "a".into()));
    lost.upload(Upload::Dead);
    let request = RestoreRequest {
        selection: Selection {
            include: vec!["[ac]*".into()],
            ..Selection::default()
        },
        swap: true,
        ..lost.request()
    };
    let report = lost.run(&request).await.unwrap();
    assert_eq!(report.status, RestoreOutcome::Failed, "{report:?}");
    let command = format!("qdrant-backup restore {} --include '[ac]*' --swap", lost.id);
    assert_eq!(
        (&report.failed[0].next, &report.next),
        (&command, &vec![command.clone()])
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_over_http_is_told_as_one() {
    let lost = Lost::new().await;
    let store = url::Url::from_directory_path(lost.bench.dir.path())
        .unwrap()
        .to_string();
    let service = Service::start(&[("QDRANT_URL", &lost.peer.url), ("BACKUP_STORE", &store)]).await;
    lost.upload(Upload::Full);
    let (status, answer) = service
        .post(
            "/restore",
            r#"{"id": "latest", "collections": ["a"], "into": "{}-2", "via": "upload"}"#,
        )
        .await;
    assert_eq!(status, 502, "{answer}");
    let next = answer["report"]["failed"][0]["next"].as_str().unwrap();
    let body = format!(
        r#"{{"id":"{}","collections":["a"],"into":"{{}}-2","via":"upload"}}"#,
        lost.id
    );
    assert_eq!(next, format!("POST /restore {body}"));
    assert!(answer["error"]["remedy"].as_str().unwrap().ends_with(next), "{answer}");
    let (status, answer) = service.post("/restore", &body).await;
    assert_eq!(
        (status, &answer["collections"][0]["target"]),
        (200, &"a-2".into()),
        "{answer}"
    );
    // A refusal offers what harms nobody.
    let (status, answer) = service.post("/restore", &body).await;
    assert_eq!(status, 409, "{answer}");
    let beside = body.replace("{}-2", "{}-2-restored");
    assert!(
        answer["error"]["remedy"]
            .as_str()
            .unwrap()
            .contains(&format!("POST /restore {beside}")),
        "{answer}"
    );
}
