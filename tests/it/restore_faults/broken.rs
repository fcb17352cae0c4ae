//! A target with a collection that Qdrant cannot load: it forbids nothing that does not concern it, and a restore mends it.

use crate::told::offers;
use qdrant_backup::base::error::Code;
use qdrant_backup::ops::backup;
use qdrant_backup::ops::restore::{self, Existing, RestoreOutcome, RestoreRequest};
use qdrant_backup::repository::selection::Selection;
use testkit::lost::Lost;
use testkit::peer::Upload;
use testkit::service::Service;

/// `a` is there again, and cannot be loaded.
async fn broken() -> Lost {
    let lost = Lost::new().await;
    lost.peer.lock().collections.entry("a".into()).or_default().broken = true;
    lost
}

fn asked_for_a(lost: &Lost) -> usize {
    lost.peer.requests("/collections/a ") + lost.peer.requests("/collections/a/")
}

#[tokio::test]
async fn others_are_restored_without_asking_for_it() {
    let lost = broken().await;
    let request = RestoreRequest {
        selection: Selection {
            collections: vec!["b".into()],
            ..Selection::default()
        },
        ..lost.request()
    };
    let report = lost.run(&request).await.unwrap();
    assert_eq!(report.status, RestoreOutcome::Complete, "{report:?}");
    assert_eq!(asked_for_a(&lost), 0);
}

#[tokio::test]
async fn it_is_replaced_only_when_told_and_is_mended_by_that() {
    let lost = broken().await;
    let error = lost.run(&lost.request()).await.unwrap_err();
    assert_eq!(error.code(), Code::RestoreRefused);
    // What Qdrant says of it, and the way that changes nothing.
    assert!(error.chain().contains("failed to load local shard"), "{error}");
    assert!(offers(error.remedy_text().unwrap(), &["restore", "--into"]), "{error}");
    assert_eq!(lost.peer.requests("/snapshots/upload"), 0);

    let all = RestoreRequest {
        selection: Selection::default(),
        overwrite: true,
        ..lost.request()
    };
    let plan = restore::plan(&lost.bench.ctx, &all).await.unwrap();
    let a = &plan.collections[0];
    assert_eq!(a.target, "a");
    assert!(matches!(a.overwrites, Some(Existing::Unreadable { .. })), "{plan}");

    // Still as it was, when that fails.
    lost.upload(Upload::Full);
    let report = lost.run(&all).await.unwrap();
    assert_eq!(
        (report.status, report.failed.len()),
        (RestoreOutcome::Partial, 1),
        "{report:?}"
    );
    assert!(
        report.failed[0]
            .state
            .starts_with("it exists and its state is unreadable"),
        "{report:?}"
    );

    let report = lost.run(&all).await.unwrap();
    assert_eq!(report.status, RestoreOutcome::Complete, "{report:?}");
    assert_eq!(report.collections[0].points, 100);
    assert_eq!(lost.peer.lock().aliases, [("live".to_owned(), "a".to_owned())]);
}

#[tokio::test]
async fn a_swap_leaves_it_where_it_is() {
    let lost = broken().await;
    lost.peer.lock().aliases.push(("live".into(), "a".into()));
    let request = RestoreRequest {
        swap: true,
        ..lost.request()
    };
    let report = lost.run(&request).await.unwrap();
    assert_eq!(
        (report.status, report.replaced),
        (RestoreOutcome::Complete, vec!["a".to_owned()])
    );
    assert_eq!(asked_for_a(&lost), 0);
}

#[tokio::test]
async fn a_damaged_backup_does_not_replace_it_either() {
    let lost = broken().await;
    let record = r#"{"verdict": "damaged", "at": "2026-11-20T01:02:03Z"}"#;
    std::fs::write(lost.manifest().with_file_name("verified.json"), record).unwrap();
    let request = RestoreRequest {
        overwrite: true,
        ..lost.request()
    };
    let error = lost.run(&request).await.unwrap_err();
    assert_eq!(error.code(), Code::RestoreRefused, "{error}");
    assert_eq!(lost.peer.requests("/snapshots/upload"), 0);
}

#[tokio::test]
async fn one_that_cannot_be_read_any_more_is_not_taken_for_the_empty_one_of_the_plan() {
    let lost = Lost::new().await;
    lost.peer.lock().collections.entry("b".into()).or_default();
    let peer = lost.peer.clone();
    let other = lost.peer.clone();
    // The first count is that of the plan, the second one compares `a`.
    lost.peer.lock().on_count = Some(Box::new(move || {
        peer.lock().on_count = Some(Box::new(move || {
            other.lock().collections.get_mut("b").unwrap().broken = true;
        }));
    }));
    let request = RestoreRequest {
        selection: Selection::default(),
        ..lost.request()
    };
    let report = lost.run(&request).await.unwrap();
    let failed = &report.failed[0];
    assert_eq!(
        (failed.source.as_str(), failed.error.code),
        ("b", Code::RestoreRefused),
        "{report:?}"
    );
    assert_eq!(lost.peer.requests("/collections/b/snapshots/upload"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_backed_up_by_nobody_and_listed_with_what_is_wrong() {
    let lost = broken().await;
    lost.peer.lock().collections.entry("b".into()).or_default();
    let report = lost.bench.run().await.unwrap();
    assert_eq!(
        (report.status, report.collections.len(), report.failed.len()),
        (backup::BackupOutcome::Partial, 1, 1),
        "{report:?}"
    );
    let store = url::Url::from_directory_path(lost.bench.dir.path())
        .unwrap()
        .to_string();
    let service = Service::start(&[("QDRANT_URL", &lost.peer.url), ("BACKUP_STORE", &store)]).await;
    let (status, answer) = service.get("/collections").await;
    assert_eq!(status, 200, "{answer}");
    let [a, b] = answer["collections"].as_array().unwrap().as_slice() else {
        panic!("{answer}")
    };
    assert_eq!(
        (&a["status"], &a["error"]["code"]),
        (&"unknown".into(), &"qdrant_failed".into()),
        "{answer}"
    );
    assert!(b["status"] == "green" && b.get("error").is_none(), "{answer}");
    let (status, answer) = service.get("/status").await;
    assert_eq!(status, 200, "{answer}");
}
