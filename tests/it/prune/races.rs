//! Prunes beside backups and other prunes: the lease says who waits.

use qdrant_backup::base::error::{Code, Result};
use qdrant_backup::ops::backup::{self as operation, BackupOutcome, BackupReport};
use qdrant_backup::ops::context::Context;
use qdrant_backup::ops::progress::Progress;
use qdrant_backup::ops::prune;
use qdrant_backup::repository::selection::Selection;
use std::sync::Arc;
use std::time::Duration;
use testkit::bench::context;
use testkit::history::{History, backup, before_change, id, whole};
use testkit::peer::{Create, Peer};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

const IDS: [&str; 3] = ["2020-01-01T00-00-00Z", "2020-01-02T00-00-00Z", "2020-01-03T00-00-00Z"];

async fn filled(bench: &History) {
    for id in IDS {
        backup(&*bench.store, id).await;
    }
}

async fn run(ctx: &Context) -> Result<BackupReport> {
    let progress = Progress::new(ctx.clock.now());
    operation::run(ctx, &Selection::default(), &progress, &CancellationToken::new()).await
}

#[tokio::test]
async fn while_a_backup_runs_a_prune_is_told_to_wait_and_deletes_nothing() {
    for bench in History::both().await {
        filled(&bench).await;
        let (reached, go) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
        let peer = Peer::start(&[("c", 1000)]).await;
        peer.on_create(
            "c",
            [Create::Held {
                reached: reached.clone(),
                go: go.clone(),
            }],
        );
        let ctx = context(&peer.url, bench.store.clone());
        let plan = bench.plan().await;
        let second = async {
            reached.acquire().await.unwrap().forget();
            let error = prune::execute(&bench.job, &plan, &CancellationToken::new())
                .await
                .unwrap_err();
            assert_eq!(bench.whole().await.len(), 3);
            go.add_permits(1);
            error
        };
        let (report, error) = tokio::join!(run(&ctx), second);
        assert_eq!(
            (
                error.code(),
                qdrant_backup::server::http_status(&error).as_u16(),
                error.exit_code()
            ),
            (Code::RunInProgress, 409, 5)
        );
        assert_eq!(report.unwrap().status, BackupOutcome::Complete);
        assert_eq!(bench.whole().await.len(), 4);
        // What was planned before the backup still goes, and the new one stays.
        let (done, error) = bench.execute(&plan).await;
        assert!(error.is_none());
        assert_eq!(done.deleted.len(), 2);
        assert_eq!(bench.whole().await.len(), 2);
    }
}

#[tokio::test]
async fn while_a_prune_deletes_a_backup_is_told_to_wait() {
    let bench = History::in_directory().await;
    filled(&bench).await;
    let peer = Peer::start(&[("c", 1000)]).await;
    let ctx = context(&peer.url, bench.store.clone());
    let (reached, go) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let mut job = bench.job.clone();
    let (r, g) = (reached.clone(), go.clone());
    job.ctx.store = before_change(&bench.store, async move {
        r.add_permits(1);
        g.acquire().await.unwrap().forget();
    });
    let plan = prune::plan(&job).await.unwrap();
    let second = async {
        reached.acquire().await.unwrap().forget();
        let error = run(&ctx).await.unwrap_err();
        go.add_permits(1);
        error
    };
    let stop = CancellationToken::new();
    let (report, error) = tokio::join!(prune::execute(&job, &plan, &stop), second);
    assert_eq!(error.code(), Code::RunInProgress);
    assert!(error.to_string().contains("test (prune)"), "{error}");
    assert_eq!(report.unwrap().deleted.len(), 2);
    assert_eq!(run(&ctx).await.unwrap().status, BackupOutcome::Complete);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_wins_every_backup_is_whole_and_the_newest_stays() {
    for round in 0..20 {
        let bench = if round % 2 == 0 {
            History::in_directory().await
        } else {
            History::in_emulator().await
        };
        filled(&bench).await;
        let peer = Peer::start(&[("c", 1000)]).await;
        let ctx = context(&peer.url, bench.store.clone());
        let job = bench.job.clone();
        let pruning = tokio::spawn(async move {
            let plan = prune::plan(&job).await?;
            prune::execute(&job, &plan, &CancellationToken::new()).await
        });
        let other = bench.job.clone();
        let again = tokio::spawn(async move {
            let plan = prune::plan(&other).await?;
            prune::execute(&other, &plan, &CancellationToken::new()).await
        });
        let backing_up = tokio::spawn(async move { run(&ctx).await.map(|report| report.id) });
        let (first, second, made) = tokio::join!(pruning, again, backing_up);
        for result in [first.unwrap(), second.unwrap()] {
            match result {
                Ok(mut report) => assert!(report.take_error().is_none(), "round {round}"),
                Err(e) => assert_eq!(e.code(), Code::RunInProgress, "round {round}: {e}"),
            }
        }
        let left = whole(&*bench.store).await;
        assert!(left.contains(&IDS[2].to_owned()), "round {round}: {left:?}");
        match made.unwrap() {
            Ok(made) => assert!(left.contains(&made.to_string()), "round {round}: {left:?}"),
            Err(e) => assert_eq!(e.code(), Code::RunInProgress, "round {round}: {e}"),
        }
    }
}

#[tokio::test]
async fn a_prune_that_lost_its_lease_stops() {
    let bench = History::in_directory().await;
    filled(&bench).await;
    let lock = bench.dir().join("lock.json");
    let mut job = bench.job.clone();
    job.ctx.lease = Duration::from_millis(600);
    let path = lock.clone();
    job.ctx.store = before_change(&bench.store, async move {
        std::fs::remove_file(&path).unwrap();
        let thief = r#"{"holder":"x","who":"somebody else","since":"2026-11-22T12:00:00Z","expires_at":"2999-01-01T00:00:00Z"}"#;
        std::fs::write(&path, thief).unwrap();
        std::future::pending::<()>().await;
    });
    let plan = prune::plan(&job).await.unwrap();
    let mut report = prune::execute(&job, &plan, &CancellationToken::new()).await.unwrap();
    assert_eq!(report.take_error().unwrap().code(), Code::LeaseLost);
    assert_eq!(bench.whole().await.len(), 3);
    let lock: serde_json::Value = serde_json::from_slice(&std::fs::read(&lock).unwrap()).unwrap();
    assert_eq!(lock["who"], "somebody else", "the other's lease must stay");
}

#[tokio::test]
async fn of_two_prunes_with_the_same_plan_the_second_finds_nothing_left() {
    let bench = History::in_emulator().await;
    filled(&bench).await;
    let plan = bench.plan().await;
    assert_eq!(bench.execute(&plan).await.0.deleted.len(), 2);
    let (report, error) = bench.execute(&plan).await;
    assert!(error.is_none());
    assert_eq!(
        report.skipped.iter().map(|s| s.id).collect::<Vec<_>>(),
        [id(IDS[0]), id(IDS[1])]
    );
}
