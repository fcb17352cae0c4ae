//! Restores from a store that takes no writes, and beside a run that holds the lease.

use gcs_emulator::Emulator;
use qdrant_backup::base::error::Code;
use qdrant_backup::ops::backup;
use qdrant_backup::ops::context::Context;
use qdrant_backup::ops::progress::Progress;
use qdrant_backup::ops::restore::{self, RestoreOutcome, RestoreReport, RestoreRequest};
use qdrant_backup::repository::lease::{self, Lease};
use qdrant_backup::repository::selection::Selection;
use qdrant_backup::wire::store::{self, GcsOptions, Store};
use std::sync::Arc;
use std::time::Duration;
use testkit::bench::context;
use testkit::faulty::{Twist, twisted};
use testkit::lost::Lost;
use testkit::process::{command, finish};
use testkit::service::Service;
use tokio_util::sync::CancellationToken;

/// `lost`, with a store that refuses the lease.
fn refusing(lost: &mut Lost, code: Code) -> Arc<dyn Store> {
    let inner = lost.bench.ctx.store.clone();
    lost.bench.ctx.store = twisted(&inner, move |key| match key {
        "lock.json" => Twist::Refused(code),
        _ => Twist::None,
    });
    inner
}

async fn held(store: &Arc<dyn Store>, lost: &Lost) -> Lease {
    let life = Duration::from_secs(3600);
    lease::acquire(store.clone(), &lost.bench.ctx.clock, "somebody/1", life)
        .await
        .unwrap()
}

/// The restore is whole, and says that nothing protected it: one with a lease has no warning.
#[track_caller]
fn assert_unprotected(report: &RestoreReport) {
    assert_eq!(report.status, RestoreOutcome::Complete, "{report:?}");
    assert_eq!(report.warnings.len(), 1, "{:?}", report.warnings);
    assert!(report.warnings[0].contains("prune"), "{:?}", report.warnings);
}

#[tokio::test]
async fn a_store_that_is_full_or_read_only_can_be_restored_from() {
    for code in [Code::StoreFull, Code::StoreForbidden] {
        let mut lost = Lost::new().await;
        refusing(&mut lost, code);
        assert_unprotected(&lost.run(&lost.request()).await.unwrap());
        assert!(!lost.bench.dir.path().join("lock.json").exists());
        assert!(lost.peer.lock().collections.contains_key("a"));
    }
    // What may pass says nothing of who holds the lease.
    for code in [Code::StoreUnreachable, Code::StoreFailed] {
        let mut lost = Lost::new().await;
        refusing(&mut lost, code);
        assert_eq!(lost.run(&lost.request()).await.unwrap_err().code(), code);
        lost.untouched();
    }
}

#[tokio::test]
async fn a_lease_that_somebody_else_holds_is_respected_by_a_store_that_takes_no_writes() {
    let mut lost = Lost::new().await;
    let inner = refusing(&mut lost, Code::StoreFull);
    let lease = held(&inner, &lost).await;
    let error = lost.run(&lost.request()).await.unwrap_err();
    assert_eq!(error.code(), Code::RunInProgress);
    assert!(error.to_string().contains("somebody/1"), "{error}");
    let unlocked = RestoreRequest {
        no_lock: true,
        ..lost.request()
    };
    let report = lost.run(&unlocked).await.unwrap();
    assert_unprotected(&report);
    assert!(report.warnings[0].contains("somebody/1"), "{:?}", report.warnings);
    lease.confirm().await.unwrap();
}

#[tokio::test]
async fn a_bucket_that_may_only_be_read_can_be_restored_from() {
    let lost = Lost::new().await;
    let gcs = Emulator::start().await.unwrap();
    gcs.create_bucket("b");
    let options = GcsOptions {
        endpoint: Some(gcs.url().to_owned()),
        ..GcsOptions::default()
    };
    let store = store::open("gs://b/p", options).await.unwrap();
    let ctx: Context = context(&lost.peer.url, store);
    let (progress, stop) = (Progress::new(ctx.clock.now()), CancellationToken::new());
    // What `lost` has saved and lost comes back, is saved into the bucket, and is lost again.
    lost.run(&lost.request()).await.unwrap();
    backup::run(&ctx, &Selection::default(), &progress, &stop)
        .await
        .unwrap();
    lost.peer.lock().collections.clear();
    lost.peer.lock().aliases.clear();
    gcs.deny("storage.objects.create");
    gcs.deny("storage.objects.delete");
    let request = RestoreRequest {
        id: "latest".into(),
        ..lost.request()
    };
    assert_unprotected(&restore::run(&ctx, &request, &progress, &stop).await.unwrap());
    assert!(gcs.object("b", "p/lock.json").is_none());
}

#[tokio::test]
async fn whoever_asks_for_it_goes_on_beside_another_run() {
    let lost = Lost::new().await;
    let lease = held(&lost.bench.ctx.store, &lost).await;
    let run = async |args: &[&str]| {
        let args = [&["restore", &lost.id], args].concat();
        finish(command(&args, &lost.peer.url, lost.bench.dir.path()).spawn().unwrap()).await
    };
    let (code, _, err) = run(&["a"]).await;
    assert_eq!(code, Some(5), "{err}");
    let (code, out, err) = run(&["a", "--no-lock"]).await;
    assert_eq!(code, Some(0), "{err}");
    for text in [&out, &err] {
        assert!(text.contains("somebody/1"), "{text}");
    }
    let store = url::Url::from_directory_path(lost.bench.dir.path()).unwrap();
    let service = Service::start(&[("QDRANT_URL", &lost.peer.url), ("BACKUP_STORE", store.as_str())]).await;
    let body = |no_lock: bool| format!(r#"{{"id":"{}","collections":["b"],"no_lock":{no_lock}}}"#, lost.id);
    let (status, refused) = service.post("/restore", &body(false)).await;
    assert_eq!(
        (status, refused["error"]["code"].as_str()),
        (409, Some("run_in_progress")),
        "{refused}"
    );
    let (status, report) = service.post("/restore", &body(true)).await;
    assert_eq!((status, report["status"].as_str()), (200, Some("complete")), "{report}");
    assert!(
        report["warnings"][0].as_str().unwrap().contains("somebody/1"),
        "{report}"
    );
    lease.confirm().await.unwrap();
}
