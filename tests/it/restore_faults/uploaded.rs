//! The file that Qdrant keeps of an upload is deleted; where that cannot be known, it is told.

use qdrant_backup::ops::restore::{Failed, RestoreOutcome, RestoreRequest};
use testkit::lost::Lost;
use testkit::peer::Upload;

/// The only collection that could not be restored.
async fn failed(lost: &Lost, request: &RestoreRequest) -> Failed {
    let mut report = lost.run(request).await.unwrap();
    assert_eq!(
        (report.status, report.failed.len()),
        (RestoreOutcome::Failed, 1),
        "{report:?}"
    );
    report.failed.remove(0)
}

#[tokio::test]
async fn one_that_is_stored_after_the_connection_broke_is_deleted() {
    let lost = Lost::new().await;
    lost.peer.lock().collections.entry("a".into()).or_default();
    lost.upload(Upload::StoredLate);
    let failed = failed(&lost, &lost.request()).await;
    assert!(!failed.state.contains("qdrant-backup-"), "{failed:?}");
    assert!(lost.peer.lock().late.is_none());
    assert_eq!(lost.peer.snapshots("a"), [""; 0]);
}

#[tokio::test]
async fn one_of_a_collection_that_does_not_exist_cannot_be_seen_and_is_told() {
    let lost = Lost::new().await;
    lost.upload(Upload::Full);
    let failed = failed(&lost, &lost.request()).await;
    let url = format!("DELETE {}/collections/a/snapshots/qdrant-backup-", lost.peer.url);
    assert!(failed.state.contains(&url), "{failed:?}");
    assert_eq!(lost.peer.requests("DELETE /collections/a/snapshots/qdrant-backup-"), 3);
}

#[tokio::test]
async fn none_is_told_of_where_qdrant_cannot_have_one() {
    let lost = Lost::new().await;
    lost.upload(Upload::Forbidden);
    let failed = failed(&lost, &lost.request()).await;
    assert!(!failed.state.contains("qdrant-backup-"), "{failed:?}");
}

#[tokio::test]
async fn those_of_earlier_restores_are_told_of_and_left_alone() {
    let lost = Lost::new().await;
    let file = "qdrant-backup-11111111-2222-3333-4444-555555555555.snapshot";
    let others = vec![file.to_owned(), "qdrant-backup-of-monday.snapshot".to_owned()];
    lost.peer.lock().collections.entry("a".into()).or_default().others = others.clone();
    let report = lost.run(&lost.request()).await.unwrap();
    assert_eq!(report.status, RestoreOutcome::Complete, "{report:?}");
    let notes: Vec<_> = report.collections[0]
        .notes
        .iter()
        .filter(|n| n.contains("qdrant-backup-"))
        .collect();
    let [note] = notes[..] else { panic!("{report:?}") };
    let by_hand = format!("DELETE {}/collections/a/snapshots/{file}", lost.peer.url);
    assert!(note.contains(&by_hand), "{note}");
    assert_eq!(lost.peer.lock().collections["a"].others, others);
}
