//! Pins keep what they are put on, whenever they are put there.

use qdrant_backup::base::error::Code;
use qdrant_backup::ops::prune::{self, PruneReport};
use qdrant_backup::repository::catalog::{self, Mark, Pin};
use qdrant_backup::repository::lease;
use qdrant_backup::repository::names::ArtifactKind;
use qdrant_backup::repository::pins::{self, Pinned};
use std::time::Duration;
use testkit::history::{History, backup, before_change, id, put};
use tokio_util::sync::CancellationToken;

const OLD: &str = "2020-01-01T00-00-00Z";
const MIDDLE: &str = "2020-01-02T00-00-00Z";
const NEW: &str = "2020-01-03T00-00-00Z";

async fn filled(bench: &History) {
    for id in [OLD, MIDDLE, NEW] {
        backup(&*bench.store, id).await;
    }
}

async fn pin(bench: &History, text: &str) -> Pinned {
    pins::pin(
        &*bench.store,
        &bench.job.ctx.clock,
        id(text),
        "me",
        Some("the audit".into()),
    )
    .await
    .unwrap()
}

#[track_caller]
fn is_skipped_as_pinned(report: &PruneReport, text: &str) {
    let [skipped] = &report.skipped[..] else {
        panic!("{report:?}");
    };
    assert_eq!(skipped.id, id(text), "{report:?}");
    assert!(skipped.why.contains(&Mark::Pinned.to_string()), "{report:?}");
}

#[tokio::test]
async fn a_pinned_backup_stays_until_it_is_unpinned() {
    for bench in History::both().await {
        filled(&bench).await;
        assert_eq!(pin(&bench, OLD).await, Pinned::Now { beside: None });
        assert_eq!(bench.prune().await, [MIDDLE]);
        let list = catalog::list(&*bench.store, 10, time::OffsetDateTime::now_utc())
            .await
            .unwrap();
        assert_eq!(list[1].marks, [Mark::Good, Mark::Pinned]);
        let Some(Pin { at: Some(_), by, note }) = &list[1].pinned else {
            panic!("{list:?}")
        };
        assert_eq!((by.as_deref(), note.as_deref()), (Some("me"), Some("the audit")));
        let Pinned::Already(known) = pin(&bench, OLD).await else {
            panic!()
        };
        assert_eq!(Some(&known), list[1].pinned.as_ref(), "a second pin changes nothing");
        assert!(pins::unpin(&*bench.store, id(OLD)).await.unwrap());
        assert!(!pins::unpin(&*bench.store, id(OLD)).await.unwrap());
        assert_eq!(bench.prune().await, [OLD]);
        assert_eq!(bench.keys().await.len(), 3);
    }
}

#[tokio::test]
async fn a_pin_holds_whatever_is_in_it() {
    let bench = History::in_directory().await;
    filled(&bench).await;
    put(&*bench.store, &id(OLD).pinned(), "").await;
    put(&*bench.store, &id(MIDDLE).pinned(), r#"{"at":"yesterday"}"#).await;
    assert_eq!(bench.prune().await, [""; 0]);
}

#[tokio::test]
async fn a_pin_after_planning_holds() {
    let bench = History::in_emulator().await;
    filled(&bench).await;
    let plan = bench.plan().await;
    pin(&bench, OLD).await;
    let (report, _) = bench.execute(&plan).await;
    is_skipped_as_pinned(&report, OLD);
    assert_eq!(bench.whole().await, [NEW, OLD]);
}

#[tokio::test]
async fn a_pin_in_the_middle_of_a_prune_holds_and_tells_of_it() {
    let bench = History::in_directory().await;
    filled(&bench).await;
    let (store, clock) = (bench.store.clone(), bench.job.ctx.clock.clone());
    let mut job = bench.job.clone();
    // While the oldest one is deleted, the next one is pinned.
    job.ctx.store = before_change(&bench.store, async move {
        let pinned = pins::pin(&*store, &clock, id(MIDDLE), "me", None).await.unwrap();
        assert_eq!(
            pinned,
            Pinned::Now {
                beside: Some("test (prune)".into())
            }
        );
    });
    let plan = prune::plan(&job).await.unwrap();
    let report = prune::execute(&job, &plan, &CancellationToken::new()).await.unwrap();
    assert_eq!(report.deleted.len(), 1, "{report:?}");
    is_skipped_as_pinned(&report, MIDDLE);
    assert_eq!(bench.whole().await, [NEW, MIDDLE]);
}

#[tokio::test]
async fn only_a_backup_can_be_pinned() {
    let bench = History::in_directory().await;
    filled(&bench).await;
    let unfinished = id("2020-01-04T00-00-00Z");
    put(
        &*bench.store,
        &unfinished.artifact("docs", &ArtifactKind::Collection, 1),
        "x",
    )
    .await;
    for id in [unfinished, id("2020-01-05T00-00-00Z")] {
        let store = before_change(&bench.store, async { panic!("a pin was written for no backup") });
        let error = pins::pin(&*store, &bench.job.ctx.clock, id, "me", None)
            .await
            .unwrap_err();
        assert_eq!((error.code(), error.exit_code()), (Code::BackupNotFound, 8));
        assert!(!bench.keys().await.contains(&id.pinned()), "no pin without a backup");
    }
}

#[tokio::test]
async fn a_pin_without_its_manifest_keeps_the_rest() {
    let mut bench = History::in_directory().await;
    filled(&bench).await;
    pin(&bench, OLD).await;
    let manifest = bench.store.head(&id(OLD).manifest()).await.unwrap().unwrap();
    bench.store.delete(&manifest.key, &manifest.version).await.unwrap();
    bench.later(Duration::from_secs(48 * 3600));
    assert_eq!(bench.prune().await, [MIDDLE]);
    assert_eq!(bench.keys().await.iter().filter(|k| k.contains(OLD)).count(), 3);
}

#[tokio::test]
async fn pinning_beside_a_run_names_it() {
    let bench = History::in_directory().await;
    filled(&bench).await;
    let lease = lease::acquire(
        bench.store.clone(),
        &bench.job.ctx.clock,
        "nightly",
        Duration::from_secs(60),
    )
    .await
    .unwrap();
    assert_eq!(
        pin(&bench, OLD).await,
        Pinned::Now {
            beside: Some("nightly".into())
        }
    );
    lease.release().await.unwrap();
}

#[tokio::test]
async fn a_pin_that_came_too_late_says_so_and_leaves_nothing() {
    let bench = History::in_directory().await;
    filled(&bench).await;
    let store = bench.store.clone();
    let late = before_change(&bench.store, async move {
        let manifest = store.head(&id(OLD).manifest()).await.unwrap().unwrap();
        store.delete(&manifest.key, &manifest.version).await.unwrap();
    });
    let error = pins::pin(&*late, &bench.job.ctx.clock, id(OLD), "me", None)
        .await
        .unwrap_err();
    assert_eq!(error.code(), Code::BackupNotFound);
    assert!(!bench.keys().await.contains(&id(OLD).pinned()));
}
