//! A store that is too full for the lease: pruning makes the room.

use qdrant_backup::base::error::Code;
use qdrant_backup::ops::context::StoreContext;
use qdrant_backup::ops::prune::{self, PruneContext};
use qdrant_backup::ops::retention::Policy;
use qdrant_backup::repository::lease;
use qdrant_backup::wire::store::Store;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use testkit::faulty::{Twist, twisted};
use testkit::history::{History, backup, id, put};
use tokio_util::sync::CancellationToken;

const IDS: [&str; 4] = [
    "2020-01-01T00-00-00Z",
    "2020-01-02T00-00-00Z",
    "2020-01-03T00-00-00Z",
    "2020-01-04T00-00-00Z",
];

async fn filled() -> History {
    let bench = History::in_directory().await;
    for id in IDS {
        backup(&*bench.store, id).await;
    }
    bench
}

fn root(bench: &History) -> &Path {
    bench.dir()
}

/// The store, which has no room for anything as long as `is_full` says so.
fn full(bench: &History, is_full: impl Fn() -> bool + Send + Sync + 'static) -> Arc<dyn Store> {
    twisted(&bench.store, move |_| match is_full() {
        true => Twist::Refused(Code::StoreFull),
        false => Twist::None,
    })
}

#[tokio::test]
async fn what_is_deleted_first_makes_room_for_the_lease_under_which_the_rest_goes() {
    let mut bench = filled().await;
    let oldest = root(&bench).join("backups").join(IDS[0]);
    let leases = Arc::new(AtomicUsize::new(0));
    let (seen, second) = (leases.clone(), root(&bench).join("backups").join(IDS[1]));
    bench.job.ctx.store = twisted(&bench.store.clone(), move |_| match oldest.exists() {
        true => Twist::Refused(Code::StoreFull),
        false => {
            assert!(second.exists(), "it goes without a lease although there is room");
            seen.fetch_add(1, Ordering::SeqCst);
            Twist::None
        }
    });
    let (report, error) = bench.execute(&bench.plan().await).await;
    assert!(error.is_none() && report.skipped.is_empty(), "{error:?} {report:?}");
    let gone: Vec<_> = report.deleted.iter().map(|deleted| deleted.id.to_string()).collect();
    assert_eq!(gone, IDS[..3]);
    let [warning] = &report.warnings[..] else {
        panic!("{report:?}");
    };
    // Which of them went without a lease is what it tells.
    assert!(warning.contains(&bench.store.url()), "{warning}");
    assert_eq!(leases.load(Ordering::SeqCst), 1);
    assert_eq!(bench.whole().await, IDS[3..]);
    assert!(!root(&bench).join("lock.json").exists());
}

#[tokio::test]
async fn a_store_that_stays_full_is_pruned_all_the_same() {
    let mut bench = filled().await;
    bench.job.ctx.store = full(&bench, || true);
    assert_eq!(bench.prune().await, IDS[..3]);
    assert_eq!(bench.whole().await, IDS[3..]);
}

#[tokio::test]
async fn what_is_no_backup_goes_before_any_backup() {
    let mut bench = filled().await;
    let left = "2020-01-03T12-00-00Z";
    put(
        &*bench.store,
        &format!("{}docs/collection.snapshot", id(left).prefix()),
        "x",
    )
    .await;
    put(&*bench.store, "jobs/nightly-1/plan.json", "{}").await;
    bench.later(Duration::from_secs(48 * 3600));
    bench.job.ctx.store = full(&bench, || true);
    let (report, error) = bench.execute(&bench.plan().await).await;
    assert!(error.is_none(), "{error:?}");
    let gone: Vec<_> = report.deleted.iter().map(|deleted| deleted.id.to_string()).collect();
    assert_eq!(gone, [left, IDS[0], IDS[1], IDS[2]]);
    assert_eq!(report.jobs, 1);
}

#[tokio::test]
async fn records_of_jobs_alone_are_cleared_from_a_full_store() {
    let mut bench = History::in_directory().await;
    put(&*bench.store, "jobs/nightly-1/plan.json", "{}").await;
    bench.later(Duration::from_secs(48 * 3600));
    bench.job.ctx.store = full(&bench, || true);
    let (report, error) = bench.execute(&bench.plan().await).await;
    assert!(error.is_none(), "{error:?}");
    assert_eq!((report.jobs, bench.keys().await.len()), (1, 0));
}

#[tokio::test]
async fn nothing_is_deleted_without_a_lease_while_somebody_holds_it() {
    let mut bench = filled().await;
    let life = Duration::from_secs(3600);
    let lease = lease::acquire(bench.store.clone(), &bench.job.ctx.clock, "somebody/1", life)
        .await
        .unwrap();
    bench.job.ctx.store = full(&bench, || true);
    let plan = bench.plan().await;
    let error = prune::execute(&bench.job, &plan, &CancellationToken::new())
        .await
        .unwrap_err();
    assert_eq!(error.code(), Code::RunInProgress);
    assert_eq!(bench.whole().await.len(), IDS.len());
    lease.release().await.unwrap();
    // One that has run out keeps nobody away.
    std::mem::forget(
        lease::acquire(bench.store.clone(), &bench.job.ctx.clock, "dead/1", life)
            .await
            .unwrap(),
    );
    bench.later(2 * life);
    assert_eq!(bench.prune().await, IDS[..3]);
}

#[tokio::test]
async fn whoever_finds_the_room_first_is_left_alone() {
    let mut bench = filled().await;
    let oldest = root(&bench).join("backups").join(IDS[0]);
    let lock_file = root(&bench).join("lock.json");
    let lease = lease::acquire(
        bench.store.clone(),
        &bench.job.ctx.clock,
        "backup/1",
        Duration::from_secs(3600),
    );
    let record = {
        let lease = lease.await.unwrap();
        let record = std::fs::read(&lock_file).unwrap();
        lease.release().await.unwrap();
        record
    };
    bench.job.ctx.store = twisted(&bench.store.clone(), move |_| match oldest.exists() {
        true => Twist::Refused(Code::StoreFull),
        false => {
            // A backup begins in the room that was just made.
            std::fs::write(&lock_file, &record).unwrap();
            Twist::None
        }
    });
    let (report, error) = bench.execute(&bench.plan().await).await;
    assert_eq!(error.unwrap().code(), Code::RunInProgress);
    assert_eq!(report.deleted.len(), 1);
    assert_eq!(bench.whole().await, [IDS[3], IDS[2], IDS[1]]);
}

#[tokio::test]
async fn two_prunes_at_once_leave_the_newest_good_backup_whole() {
    for _ in 0..10 {
        let bench = filled().await;
        let store = full(&bench, || true);
        let job = |policy| PruneContext {
            ctx: StoreContext {
                store: store.clone(),
                ..bench.job.ctx.clone()
            },
            policy,
            only: None,
        };
        let yearly = Policy {
            yearly: 1,
            ..Policy::default()
        };
        let (a, b) = (job(bench.job.policy.clone()), job(yearly));
        let (plan_a, plan_b) = (prune::plan(&a).await.unwrap(), prune::plan(&b).await.unwrap());
        let stop = CancellationToken::new();
        let (one, other) = tokio::join!(prune::execute(&a, &plan_a, &stop), prune::execute(&b, &plan_b, &stop));
        for report in [one, other] {
            assert!(report.unwrap().take_error().is_none());
        }
        assert_eq!(bench.whole().await, IDS[3..]);
    }
}
