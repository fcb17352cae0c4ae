//! Several collections that are restored at once: what befalls one, all, or the run.

use qdrant_backup::base::error::Code;
use qdrant_backup::ops::restore::{RestoreOutcome, RestoreRequest};
use qdrant_backup::repository::selection::Selection;
use rustix::process::Signal;
use std::sync::Arc;
use std::time::Duration;
use testkit::lost::Lost;
use testkit::peer::Upload;
use testkit::process::{command, finish, signal};
use tokio::sync::Semaphore;
use tokio::time::timeout;

const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];
/// Fails a test that would hang otherwise.
const NEVER: Duration = Duration::from_secs(60);

fn everything(lost: &Lost) -> RestoreRequest {
    RestoreRequest {
        selection: Selection::default(),
        ..lost.request()
    }
}

/// Holds the uploads into these collections for ever, and tells when so many have got there.
fn held(lost: &Lost, names: &[&str]) -> Arc<Semaphore> {
    let reached = Arc::new(Semaphore::new(0));
    for name in names {
        let reached = reached.clone();
        lost.peer.on_upload(name, [Upload::Held { reached }]);
    }
    reached
}

async fn all(reached: &Semaphore, count: u32) {
    let held = timeout(NEVER, reached.acquire_many(count)).await;
    held.expect("the uploads never began").unwrap().forget();
}

#[tokio::test]
async fn one_that_fails_keeps_none_of_the_others_from_being_restored() {
    let lost = Lost::several(&NAMES, 3).await;
    lost.peer.on_upload("b", [Upload::Full]);
    lost.peer.on_upload("d", [Upload::Empty]);
    let report = lost.run(&everything(&lost)).await.unwrap();
    assert_eq!(report.status, RestoreOutcome::Partial, "{report:?}");
    let names: Vec<_> = report.collections.iter().map(|c| c.source.as_str()).collect();
    assert_eq!(names, ["a", "c", "e"], "in the order of the plan");
    let failed: Vec<_> = report
        .failed
        .iter()
        .map(|f| (f.source.as_str(), f.error.code))
        .collect();
    assert_eq!(failed, [("b", Code::DiskFull), ("d", Code::RestoreUnequal)]);
}

#[tokio::test]
async fn results_are_told_in_the_order_of_the_plan_whatever_ends_first() {
    let lost = Lost::several(&NAMES, 5).await;
    let (reached, go) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let first = Upload::HeldUntil {
        reached: reached.clone(),
        go: go.clone(),
    };
    lost.peer.on_upload("a", [first]);
    let request = everything(&lost);
    let meanwhile = async {
        all(&reached, 1).await;
        // Each of the others is asked for the files of earlier uploads last.
        while NAMES[1..]
            .iter()
            .any(|name| lost.peer.requests(&format!("GET /collections/{name}/snapshots ")) == 0)
        {
            tokio::task::yield_now().await;
        }
        go.add_permits(1);
    };
    let (report, ()) = tokio::join!(lost.run(&request), meanwhile);
    let report = report.unwrap();
    let names: Vec<_> = report.collections.iter().map(|c| c.source.as_str()).collect();
    assert_eq!(names, NAMES, "{report:?}");
}

#[tokio::test]
async fn told_to_stop_it_says_of_each_what_is_there() {
    let lost = Lost::several(&NAMES, 3).await;
    let reached = held(&lost, &["b", "c", "d"]);
    let request = everything(&lost);
    let stop = async {
        // `a` is done by then, as `d` has its turn.
        all(&reached, 3).await;
        lost.bench.cancel.cancel();
    };
    let (report, ()) = tokio::join!(lost.run(&request), stop);
    let report = report.unwrap();
    assert_eq!(report.error().unwrap().code(), Code::Cancelled);
    assert_eq!(
        (report.status, report.collections.len()),
        (RestoreOutcome::Partial, 1),
        "{report:?}"
    );
    let names: Vec<_> = report.failed.iter().map(|f| f.source.as_str()).collect();
    assert_eq!(names, ["b", "c", "d", "e"]);
    for failed in &report.failed[..3] {
        let said = "it does not exist, and Qdrant may still be restoring it; the uploaded file qdrant-backup-";
        assert!(failed.state.starts_with(said), "{failed:?}");
    }
    assert_eq!(report.failed[3].state, "unchanged: not started");
    assert_eq!(lost.peer.requests("/collections/e/snapshots/upload"), 0);
    assert_eq!(
        report.next,
        [format!("qdrant-backup restore {} b c d e --skip-existing", lost.id)]
    );
    assert!(!lost.bench.dir.path().join("lock.json").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn ended_by_the_system_it_leaves_what_it_says_and_is_tried_again_by_what_it_prints() {
    let lost = Lost::several(&NAMES, 1).await;
    let reached = held(&lost, &["b", "c"]);
    let run = command(&["restore", "latest"], &lost.peer.url, lost.bench.dir.path())
        .env("RESTORE_CONCURRENCY", "2")
        .spawn()
        .unwrap();
    all(&reached, 2).await;
    signal(&run, Signal::TERM);
    let (code, out, err) = finish(run).await;
    assert_eq!(code, Some(10), "{out}{err}");
    assert_eq!(out.matches("Qdrant may still be restoring it").count(), 2, "{out}");
    assert_eq!(out.matches("not started for the same reason: d, e").count(), 1, "{out}");
    let again = format!("qdrant-backup restore {} b c d e --skip-existing", lost.id);
    assert!(out.contains(&format!("next, for all: {again}\n")), "{out}");
    assert!(!lost.bench.dir.path().join("lock.json").exists());
    let args: Vec<_> = again.split(' ').skip(1).collect();
    let (code, out, err) = finish(command(&args, &lost.peer.url, lost.bench.dir.path()).spawn().unwrap()).await;
    assert_eq!(code, Some(0), "{out}{err}");
    let points: Vec<_> = lost.peer.lock().collections.values().map(|c| c.points).collect();
    assert_eq!(points, [100, 101, 102, 103, 104]);
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_it_leaves_whole_collections_or_none_and_a_lease_that_says_who_had_it() {
    let lost = Lost::several(&NAMES, 1).await;
    let reached = held(&lost, &["b", "c"]);
    let dir = lost.bench.dir.path();
    let run = command(&["restore", "latest"], &lost.peer.url, dir)
        .env("RESTORE_CONCURRENCY", "2")
        .spawn()
        .unwrap();
    all(&reached, 2).await;
    signal(&run, Signal::KILL);
    finish(run).await;
    let names: Vec<_> = lost.peer.lock().collections.keys().cloned().collect();
    assert_eq!(names, ["a"], "compared, or not there");
    assert!(dir.join("lock.json").exists());
    let restore = async |args: &[&str]| {
        let args = [&["restore", "latest", "--no-lock"], args].concat();
        finish(command(&args, &lost.peer.url, dir).spawn().unwrap()).await
    };
    // What is there is not written over by a second attempt at all.
    let (code, _, err) = restore(&[]).await;
    assert_eq!(code, Some(11), "{err}");
    assert!(err.contains("\"a\" exists on the target and has 100 points"), "{err}");
    let (code, out, err) = restore(&["b", "c", "d", "e"]).await;
    assert_eq!(code, Some(0), "{out}{err}");
}

#[tokio::test]
async fn a_swap_moves_aliases_after_the_last_and_in_one_operation() {
    let lost = Lost::several(&NAMES, 3).await;
    {
        let mut inner = lost.peer.lock();
        for name in NAMES {
            inner.collections.entry(name.into()).or_default().points = 7;
            inner.aliases.push((format!("live-{name}"), name.into()));
        }
    }
    let request = RestoreRequest {
        swap: true,
        ..everything(&lost)
    };
    let broken = format!("d-restored-{}", lost.id);
    lost.peer.on_upload(&broken, [Upload::Empty]);
    let report = lost.run(&request).await.unwrap();
    assert_eq!(
        (report.status, report.aliases.len()),
        (RestoreOutcome::Partial, 0),
        "{report:?}"
    );
    assert_eq!(lost.peer.requests("POST /collections/aliases"), 0);
    assert_eq!(report.next, [format!("qdrant-backup restore {} --swap", lost.id)]);

    let report = lost.run(&request).await.unwrap();
    assert_eq!(report.status, RestoreOutcome::Complete, "{report:?}");
    let inner = lost.peer.lock();
    let last = |text: &str| inner.log.iter().rposition(|line| line.contains(text)).unwrap();
    assert!(
        last("POST /collections/aliases") > last("/points/scroll"),
        "{:?}",
        inner.log
    );
    let moved = inner
        .log
        .iter()
        .filter(|line| line.contains("POST /collections/aliases"));
    assert_eq!((moved.count(), inner.aliases.len()), (1, 5));
    assert!(
        inner.aliases.iter().all(|(_, to)| to.contains("-restored-")),
        "{:?}",
        inner.aliases
    );
}

#[tokio::test]
async fn a_key_that_is_refused_is_told_once_and_no_other_one_is_begun() {
    let lost = Lost::several(&NAMES, 3).await;
    for name in ["a", "b", "c"] {
        lost.peer.on_upload(name, [Upload::Forbidden]);
    }
    let report = lost.run(&everything(&lost)).await.unwrap();
    assert_eq!(report.status, RestoreOutcome::Failed, "{report:?}");
    assert_eq!(lost.peer.requests("/snapshots/upload"), 3);
    let states: Vec<_> = report.failed.iter().map(|f| f.state.as_str()).collect();
    let (tried, not_begun) = ("it does not exist", "unchanged: not started");
    assert_eq!(states, [tried, tried, tried, not_begun, not_begun]);
    let text = report.error().unwrap().to_string();
    assert_eq!(text.matches("Global manage").count(), 1, "told more than once: {text}");
    for told in [
        r#"refused likewise: "b", "c""#,
        r#"not started for the same reason: "d", "e""#,
    ] {
        assert!(text.contains(told), "{told}: {text}");
    }
}

#[tokio::test]
async fn told_to_stop_during_the_comparison_it_does_not_say_that_qdrant_is_still_at_work() {
    let lost = Lost::several(&NAMES[..2], 1).await;
    let cancel = lost.bench.cancel.clone();
    lost.peer.lock().on_count = Some(Box::new(move || cancel.cancel()));
    let report = lost.run(&everything(&lost)).await.unwrap();
    let [first, second] = &report.failed[..] else {
        panic!("{report:?}");
    };
    assert_eq!(first.error.code, Code::Cancelled);
    let said = "Qdrant reported it restored, and the comparison with the backup did not end";
    assert!(
        first.state.starts_with("it exists with 100 points") && first.state.ends_with(said),
        "{first:?}"
    );
    assert_eq!(second.state, "unchanged: not started");
    assert_eq!(lost.peer.snapshots("a"), [""; 0], "the uploaded file is deleted");
}
