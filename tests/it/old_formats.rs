//! Backups made by earlier versions stay listable, verifiable and restorable. `tests/fixtures/format-1` was written by version
//! 0.1.0 as of November 2026, before a manifest named its source: one collection of three points, with an alias.

use embedded_qdrant::{Node, NodeOptions};
use qdrant_backup::base::clock::Clock;
use qdrant_backup::base::error::{Code, Error};
use qdrant_backup::ops::progress::Progress;
use qdrant_backup::ops::restore::{self, RestoreRequest};
use qdrant_backup::ops::verify::{Verifier, VerifyVerdict};
use qdrant_backup::repository::catalog::{self, Mark};
use qdrant_backup::repository::manifest::Failure;
use qdrant_backup::wire::store::{DirStore, Store};
use serde_json::json;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use time::OffsetDateTime;
use tokio_util::sync::CancellationToken;

const ID: &str = "2026-11-25T17-48-26Z";
const FILES: [&str; 2] = ["manifest.json", "articles/collection.snapshot"];

/// A copy of the fixture, as a directory that was moved to another disk would be.
async fn copied() -> (Arc<dyn Store>, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/format-1");
    for file in FILES {
        let file = format!("backups/{ID}/{file}");
        std::fs::create_dir_all(dir.path().join(&file).parent().unwrap()).unwrap();
        std::fs::copy(from.join(&file), dir.path().join(&file)).unwrap();
    }
    (Arc::new(DirStore::open(dir.path()).await.unwrap()), dir)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_of_format_1_is_listed_verified_and_restored() {
    let (store, _dir) = copied().await;
    let now = OffsetDateTime::now_utc().max(ID.parse::<qdrant_backup::repository::names::BackupId>().unwrap().time());
    let list = catalog::list(&*store, 9, now).await.unwrap();
    assert_eq!(list.len(), 1);
    assert_eq!(
        (list[0].id.to_string().as_str(), &list[0].marks[..]),
        (ID, &[Mark::Good][..])
    );

    let verifier = Verifier {
        notify: Default::default(),
        store: store.clone(),
        clock: Clock::system(),
        who: "test".into(),
        concurrency: 1,
        attempts: 1,
        backoff: Duration::ZERO,
    };
    let report = verifier.run(&list[0].id).await.unwrap();
    assert_eq!(report.verdict, VerifyVerdict::Intact, "{report:?}");

    let data = tempfile::tempdir().unwrap();
    let node = Node::start(NodeOptions::new(data.path())).await.unwrap();
    let mut ctx = testkit::bench::context(&node.url(), store);
    ctx.clock = Clock::new(move || OffsetDateTime::now_utc().max(now));
    let request = RestoreRequest {
        id: "latest".into(),
        ..RestoreRequest::default()
    };
    let progress = Progress::new(ctx.clock.now());
    let report = restore::run(&ctx, &request, &progress, &CancellationToken::new())
        .await
        .unwrap();
    assert!(report.error().is_none(), "{report:?}");
    assert_eq!(report.aliases, ["live"]);
    assert_eq!(ctx.qdrant.count("articles").await.unwrap().points, 3);
    assert_eq!(ctx.qdrant.sample("articles", 9).await.unwrap().points, 3);
}

#[test]
fn why_a_collection_is_missing_is_stored_as_it_always_was() {
    let stored = json!({"collection": "a", "code": "of_a_newer_version", "message": "m"});
    let failure: Failure = serde_json::from_value(stored).unwrap();
    assert_eq!(
        (failure.error.code.as_str(), &failure.error.remedy),
        ("of_a_newer_version", &None)
    );
    let error = Error::new(Code::Stalled, "reading").remedy("look at it");
    let written = serde_json::to_value(Failure::of("a", &error)).unwrap();
    let expected = json!({"collection": "a", "code": "stalled", "message": "reading", "remedy": "look at it"});
    assert_eq!(written, expected);
}
