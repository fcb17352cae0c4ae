//! Prunes that are cut short, and buckets that refuse.

use gcs_emulator::{Fault, On};
use qdrant_backup::base::error::Code;
use qdrant_backup::ops::prune;
use qdrant_backup::repository::names::Name;
use std::time::Duration;
use testkit::history::{History, backup, before_change, dying_at, id};
use testkit::store::{BUCKET, PREFIX};
use tokio_util::sync::CancellationToken;

const IDS: [&str; 4] = [
    "2020-01-01T00-00-00Z",
    "2020-01-02T00-00-00Z",
    "2020-01-03T00-00-00Z",
    "2020-01-04T00-00-00Z",
];
const DELETIONS: usize = 3 * 3;

async fn filled(bench: &History) {
    for id in IDS {
        backup(&*bench.store, id).await;
    }
}

#[tokio::test]
async fn whichever_deletion_fails_every_backup_that_is_left_is_whole() {
    for kind in ["directory", "bucket"] {
        for k in 0..=DELETIONS {
            let mut bench = if kind == "bucket" {
                History::in_emulator().await
            } else {
                History::in_directory().await
            };
            filled(&bench).await;
            let mut job = bench.job.clone();
            (job.ctx.store, _) = dying_at(&bench.store, k);
            let plan = prune::plan(&job).await.unwrap();
            let mut report = prune::execute(&job, &plan, &CancellationToken::new()).await.unwrap();
            let error = report.take_error();
            assert_eq!(
                error.as_ref().map(|e| (e.code(), e.exit_code())),
                (k < DELETIONS).then_some((Code::StoreUnreachable, 7)),
                "{kind} {k}"
            );

            let whole = bench.whole().await;
            assert_eq!(
                whole.first().map(String::as_str),
                Some(IDS[3]),
                "{kind} {k}: the newest good one is gone"
            );
            assert_eq!(whole.len(), 4 - k.div_ceil(3).min(3), "{kind} {k}: {whole:?}");
            let counted: usize = report.deleted.iter().map(|d| d.objects).sum();
            assert_eq!(counted, k, "{kind} {k}: what is told was done");

            // Later prunes get to the same end as one that was not disturbed.
            bench.later(Duration::from_secs(48 * 3600));
            bench.prune().await;
            assert_eq!(bench.whole().await, [IDS[3]], "{kind} {k}");
            assert_eq!(bench.keys().await.len(), 3, "{kind} {k}: something is left");
        }
    }
}

#[tokio::test]
async fn the_manifest_goes_before_anything_else_of_its_backup() {
    let bench = History::in_emulator().await;
    filled(&bench).await;
    let gcs = bench.gcs();
    let armed = gcs.fault(
        &format!("{PREFIX}/backups/*"),
        usize::MAX,
        Fault::Status {
            on: On::Delete,
            code: 412,
        },
    );
    // 412 for an object that did not change: refused, whatever the answer says.
    let (report, error) = bench.execute(&bench.plan().await).await;
    let error = error.unwrap();
    assert_eq!(error.code(), Code::StoreForbidden, "{error}");
    assert!(error.to_string().contains(&id(IDS[0]).manifest()), "{error}");
    assert!(report.deleted.is_empty());
    assert_eq!(usize::MAX - armed.left(), 1, "one refusal is enough");
    assert_eq!(bench.whole().await.len(), 4);
}

#[tokio::test]
async fn a_bucket_that_refuses_deletion_is_reported_once_with_the_remedy() {
    let bench = History::in_emulator().await;
    filled(&bench).await;
    let gcs = bench.gcs();
    // Rights that let a backup keep its lease and delete nothing else.
    gcs.fault(
        "*/backups/*",
        usize::MAX,
        Fault::Status {
            on: On::Delete,
            code: 403,
        },
    );
    let before = gcs
        .requests()
        .iter()
        .filter(|r| r.target.ends_with("/DeleteObject"))
        .count();
    let (report, error) = bench.execute(&bench.plan().await).await;
    let error = error.unwrap();
    assert_eq!(
        (
            error.code(),
            error.exit_code(),
            qdrant_backup::server::http_status(&error).as_u16()
        ),
        (Code::StoreForbidden, 7, 502)
    );
    let text = error.to_string();
    for part in ["0 of 3", "storage.objects.delete", "RETAIN_MIN_AGE_HOURS"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(report.deleted.is_empty() && report.skipped.is_empty());
    let after = gcs
        .requests()
        .iter()
        .filter(|r| r.target.ends_with("/DeleteObject"))
        .count();
    assert_eq!(after - before, 2, "one manifest and the lease; no loop");
    assert_eq!(bench.whole().await.len(), 4);
    assert_eq!(
        gcs.objects(BUCKET)
            .iter()
            .filter(|o| Name::parse(&o.name[PREFIX.len() + 1..]).is_none())
            .count(),
        0
    );
}

#[tokio::test]
async fn without_any_right_to_delete_nothing_is_begun() {
    let bench = History::in_emulator().await;
    filled(&bench).await;
    // Not even the lease can be renewed: overwriting takes the right to delete.
    bench.gcs().deny("storage.objects.delete");
    let (report, error) = bench.execute(&bench.plan().await).await;
    assert_eq!(error.unwrap().code(), Code::StoreForbidden);
    assert!(report.deleted.is_empty());
    assert_eq!(bench.whole().await.len(), 4);
}

#[tokio::test]
async fn a_refusal_in_the_middle_keeps_what_was_done_and_says_how_far_it_came() {
    let bench = History::in_emulator().await;
    filled(&bench).await;
    let gcs = bench.gcs();
    // A hold on the second backup.
    gcs.fault(
        &format!("*{}*", IDS[1]),
        usize::MAX,
        Fault::Status {
            on: On::Delete,
            code: 403,
        },
    );
    let (report, error) = bench.execute(&bench.plan().await).await;
    let error = error.unwrap();
    assert!(
        error.code() == Code::StoreForbidden && error.to_string().contains("1 of 3"),
        "{error}"
    );
    assert_eq!(report.planned, 3);
    assert_eq!(
        report.deleted.iter().map(|d| (d.id, d.left)).collect::<Vec<_>>(),
        [(id(IDS[0]), 0)]
    );
    assert_eq!(bench.whole().await, [IDS[3], IDS[2], IDS[1]]);
}

#[tokio::test]
async fn told_to_stop_it_gives_the_lease_back() {
    let bench = History::in_directory().await;
    filled(&bench).await;
    let stop = CancellationToken::new();
    let token = stop.clone();
    let mut job = bench.job.clone();
    job.ctx.store = before_change(&bench.store, async move {
        token.cancel();
        std::future::pending::<()>().await;
    });
    let plan = prune::plan(&job).await.unwrap();
    let mut report = prune::execute(&job, &plan, &stop).await.unwrap();
    let error = report.take_error().unwrap();
    assert_eq!((error.code(), error.exit_code()), (Code::Cancelled, 10));
    assert_eq!(bench.whole().await.len(), 4);
    assert!(!bench.keys().await.contains(&"lock.json".to_owned()));
}
