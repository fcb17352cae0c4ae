//! A restore that goes on: what is there already is compared, left out or told, and never written over.

use qdrant_backup::base::error::Code;
use qdrant_backup::ops::restore::{RestoreOutcome, RestoreRequest, Standing};
use qdrant_backup::repository::selection::Selection;
use rustix::process::Signal;
use std::sync::Arc;
use std::time::Duration;
use testkit::lost::Lost;
use testkit::peer::Upload;
use testkit::process::{binary, command, finish, signal};
use tokio::sync::Semaphore;

const SEVEN: [&str; 7] = ["a", "b", "c", "d", "e", "f", "g"];

fn everything(lost: &Lost) -> RestoreRequest {
    RestoreRequest {
        selection: Selection::default(),
        skip_existing: true,
        ..lost.request()
    }
}

/// Sets what a collection has; the backup's have a hundred and more.
fn exists(lost: &Lost, name: &str, points: u64) {
    lost.peer.lock().collections.entry(name.into()).or_default().points = points;
}

fn points(lost: &Lost, name: &str) -> u64 {
    lost.peer.lock().collections[name].points
}

fn uploads(lost: &Lost, name: &str) -> usize {
    lost.peer.requests(&format!("/collections/{name}/snapshots/upload"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_restore_of_seven_prints_one_command_and_that_goes_on() {
    let lost = Lost::several(&SEVEN, 1).await;
    let reached = Arc::new(Semaphore::new(0));
    lost.peer.on_upload(
        "c",
        [Upload::Held {
            reached: reached.clone(),
        }],
    );
    // In the order in which they are given: the most important one first.
    let order = ["g", "a", "c", "b", "d", "e", "f"];
    let args = [&["restore", "latest"], &order[..]].concat();
    let run = command(&args, &lost.peer.url, lost.bench.dir.path())
        .env("RESTORE_CONCURRENCY", "1")
        .spawn()
        .unwrap();
    let begun = tokio::time::timeout(Duration::from_secs(60), reached.acquire());
    begun.await.expect("the upload never began").unwrap().forget();
    signal(&run, Signal::TERM);
    let (code, out, err) = finish(run).await;
    assert_eq!(code, Some(10), "{out}{err}");
    let again = format!("qdrant-backup restore {} c b d e f --skip-existing", lost.id);
    let all: Vec<_> = out
        .lines()
        .filter_map(|line| line.trim().strip_prefix("next, for all: "))
        .collect();
    assert_eq!(all, [again.as_str()], "{out}");
    assert!(err.contains(&format!("run it again: {again}\n")), "{err}");

    // Qdrant has gone on with the one, and somebody else has made another one.
    exists(&lost, "c", 102);
    exists(&lost, "d", 15);
    let before = uploads(&lost, "c");
    let (code, out, err) = paste(&lost, &again).await;
    assert_eq!(code, Some(12), "{out}{err}");
    assert_eq!((uploads(&lost, "c"), uploads(&lost, "d")), (before, 0), "{out}");
    assert!(out.contains("as it is c: exists with 102 points"), "{out}");
    assert!(
        out.contains("FAILED   d: ") && out.contains("it has 15 points"),
        "{out}"
    );
    let there: Vec<_> = SEVEN.iter().map(|name| points(&lost, name)).collect();
    assert_eq!(there, [100, 101, 102, 15, 104, 105, 106]);

    // Once that one is out of the way, nothing is left to do but it.
    lost.peer.lock().collections.remove("d");
    let (code, out, err) = paste(&lost, &again).await;
    assert_eq!(code, Some(0), "{out}{err}");
    assert_eq!(points(&lost, "d"), 103);
    let unchanged = out.lines().filter(|line| line.starts_with("as it is "));
    assert_eq!(unchanged.count(), 4, "{out}");
}

/// Exit code and both outputs of a printed command in a shell.
async fn paste(lost: &Lost, line: &str) -> testkit::process::End {
    let like = command(&[], &lost.peer.url, lost.bench.dir.path());
    let env = like
        .as_std()
        .get_envs()
        .filter_map(|(k, v)| Some((k.to_owned(), v?.to_owned())));
    let bin = binary().parent().unwrap().display().to_string();
    let mut shell = tokio::process::Command::new("bash");
    shell
        .args(["-c", &format!("PATH={bin}:$PATH; {line}")])
        .envs(env.collect::<Vec<_>>());
    let output = shell.output().await.unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[tokio::test]
async fn what_is_equal_is_left_out_and_gets_its_aliases() {
    let lost = Lost::new().await;
    exists(&lost, "a", 100);
    let report = lost.run(&everything(&lost)).await.unwrap();
    assert_eq!(report.status, RestoreOutcome::Complete, "{report:?}");
    let (unchanged, restored) = (&report.unchanged[0], &report.collections[0]);
    assert_eq!((unchanged.source.as_str(), unchanged.points), ("a", 100));
    assert_eq!((restored.source.as_str(), report.unchanged.len()), ("b", 1));
    assert_eq!((uploads(&lost, "a"), uploads(&lost, "b")), (0, 1));
    // That restore may have been stopped before them.
    assert_eq!(report.aliases, ["live"]);
}

#[tokio::test]
async fn what_differs_is_never_called_restored_and_never_touched() {
    let lost = Lost::new().await;
    exists(&lost, "a", 15);
    let report = lost.run(&everything(&lost)).await.unwrap();
    assert_eq!(report.status, RestoreOutcome::Partial, "{report:?}");
    assert_eq!(report.error().unwrap().exit_code(), 12);
    let failed = &report.failed[0];
    assert_eq!((failed.source.as_str(), failed.error.code), ("a", Code::RestoreUnequal));
    assert!(
        failed.state.starts_with("unchanged: it exists with 15 points"),
        "{failed:?}"
    );
    let beside = format!("qdrant-backup restore {} a --into '{{}}-restored'", lost.id);
    assert_eq!(report.next, std::slice::from_ref(&beside));
    assert_eq!(
        (failed.next.as_str(), points(&lost, "a"), points(&lost, "b")),
        (beside.as_str(), 15, 101)
    );
    assert_eq!(report.aliases, [""; 0], "its alias stays where it is");
}

#[tokio::test]
async fn what_is_there_is_compared_in_all_that_a_restore_ends_with() {
    let lost = Lost::new().await;
    let plan = async |request: &RestoreRequest| qdrant_backup::ops::restore::plan(&lost.bench.ctx, request).await;
    let one = RestoreRequest {
        skip_existing: true,
        ..lost.request()
    };
    for (points, equal) in [(100, Some(true)), (99, Some(false)), (0, None)] {
        exists(&lost, "a", points);
        let plan = plan(&one).await.unwrap();
        assert!(plan.error().is_none(), "{plan}");
        let found = plan.collections[0].standing.as_ref();
        let is_equal = found.map(|standing| matches!(standing, Standing::Equal { .. }));
        assert_eq!(is_equal, equal, "{plan}");
        assert_eq!(plan.bytes() > 0, equal.is_none(), "what stays is not moved: {plan}");
    }
    // It is named, so it is replaced whatever it has.
    exists(&lost, "a", 100);
    let named = RestoreRequest {
        overwrite_only: vec!["a".into()],
        ..one.clone()
    };
    let plan = plan(&named).await.unwrap();
    assert_eq!(plan.replaced(), [("a", Some(100))]);
}

#[tokio::test]
async fn only_what_is_named_is_written_over() {
    let lost = Lost::new().await;
    for name in ["a", "b"] {
        exists(&lost, name, 15);
    }
    let request = RestoreRequest {
        overwrite_only: vec!["a".into()],
        skip_existing: false,
        ..everything(&lost)
    };
    let error = lost.run(&request).await.unwrap_err();
    assert_eq!(error.code(), Code::RestoreRefused);
    assert!(
        error.to_string().contains("\"b\"") && !error.to_string().contains("\"a\""),
        "{error}"
    );
    assert_eq!((points(&lost, "a"), points(&lost, "b")), (15, 15));
    let going_on = RestoreRequest {
        skip_existing: true,
        ..request
    };
    let report = lost.run(&going_on).await.unwrap();
    assert_eq!((points(&lost, "a"), points(&lost, "b")), (100, 15), "{report:?}");
}

#[tokio::test]
async fn where_all_was_to_be_replaced_nothing_is_left_out_for_its_count() {
    let lost = Lost::new().await;
    exists(&lost, "a", 100);
    lost.upload(Upload::Full);
    let request = RestoreRequest {
        overwrite: true,
        ..lost.request()
    };
    let report = lost.run(&request).await.unwrap();
    assert_eq!(
        report.next,
        [format!("qdrant-backup restore {} a --overwrite", lost.id)],
        "{report:?}"
    );
}
