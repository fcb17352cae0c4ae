//! Downloads from a Cloud Storage that misbehaves, and lists of many pages.

use super::kit::{BUCKET, collect, emulator, gcs, gcs_with, impatient, keys, noise, put, read};
use futures_util::StreamExt as _;
use gcs_emulator::{Fault, On};
use qdrant_backup::base::error::Code;
use qdrant_backup::wire::store::{Retry, Store, Version};
use std::time::Duration;

#[tokio::test]
async fn a_cut_download_is_continued() {
    let emulator = emulator().await;
    let store = gcs(&emulator, "p").await;
    let bytes = noise(2_000_000, 1);
    put(&store, "a", &bytes).await.unwrap();
    emulator.fault("*", 2, Fault::ResetRead { after: 700_000 });
    assert_eq!(read(&store, "a").await.unwrap(), bytes);
    let requests = emulator.requests();
    let ranges: Vec<_> = requests.iter().filter_map(|r| r.range.as_deref()).collect();
    assert_eq!(ranges, ["bytes=700000-1999999", "bytes=1400000-1999999"]);
}

#[tokio::test]
async fn a_download_that_is_always_cut_ends_with_an_error() {
    let emulator = emulator().await;
    let store = gcs(&emulator, "p").await;
    put(&store, "a", &noise(2_000_000, 1)).await.unwrap();
    emulator.fault("*", usize::MAX, Fault::ResetRead { after: 1 });
    let stream = store.get("a", None, None).await.unwrap().unwrap();
    let error = collect(stream).await.unwrap_err();
    assert_eq!(error.code(), Code::StoreUnreachable, "{error}");
    assert!(emulator.requests().len() < 50);
}

#[tokio::test]
async fn damage_in_a_download_is_an_error() {
    let emulator = emulator().await;
    let store = gcs(&emulator, "p").await;
    put(&store, "a", &noise(2_000_000, 1)).await.unwrap();
    emulator.fault("*", 1, Fault::CorruptRead);
    let stream = store.get("a", None, None).await.unwrap().unwrap();
    let error = collect(stream).await.unwrap_err();
    assert_eq!(error.code(), Code::ChecksumMismatch, "{error}");
    assert!(!error.is_permanent());
}

#[tokio::test]
async fn an_object_that_changes_in_a_download_is_an_error() {
    let emulator = emulator().await;
    let store = gcs(&emulator, "p").await;
    put(&store, "a", &noise(2_000_000, 1)).await.unwrap();
    emulator.fault("*", 1, Fault::ResetRead { after: 700_000 });
    let mut stream = store.get("a", None, None).await.unwrap().unwrap();
    stream.next().await.unwrap().unwrap();
    emulator.plant(BUCKET, "p/a", noise(2_000_000, 2));
    collect(stream).await.unwrap_err();
}

#[tokio::test]
async fn a_busy_service_is_asked_again() {
    let emulator = emulator().await;
    let store = gcs(&emulator, "p").await;
    let meta = put(&store, "a", &noise(1000, 1)).await.unwrap();
    for on in [On::Read, On::Get, On::List, On::Delete, On::Bucket] {
        emulator.fault("*", 2, Fault::Status { on, code: 503 });
    }
    assert_eq!(read(&store, "a").await.unwrap(), noise(1000, 1));
    assert_eq!(store.head("a").await.unwrap().unwrap().size, 1000);
    assert_eq!(keys(&store, "").await, ["a"]);
    store.check().await.unwrap();
    assert!(store.delete("a", &meta.version).await.unwrap());
}

#[tokio::test]
async fn a_list_has_more_than_one_page() {
    let emulator = emulator().await;
    let store = gcs(&emulator, "p").await;
    let expected: Vec<_> = (0..2500).map(|i| format!("backups/{i:05}/manifest.json")).collect();
    for key in &expected {
        emulator.plant(BUCKET, &format!("p/{key}"), "{}");
    }
    emulator.plant(BUCKET, "other", "{}");
    emulator.plant(BUCKET, "p2/other", "{}");
    assert_eq!(keys(&store, "").await, expected);
    assert_eq!(keys(&store, "backups/01").await, expected[1000..2000]);
    // A bucket without a prefix shows everything.
    let store = gcs(&emulator, "").await;
    assert_eq!(keys(&store, "").await.len(), 2502);
    assert_eq!(keys(&store, "p2/").await, ["p2/other"]);
}

#[tokio::test]
async fn a_service_that_does_not_answer_is_given_up() {
    // Accepts connections, and says nothing.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let options = qdrant_backup::wire::store::GcsOptions {
        endpoint: Some(silent.local_addr().unwrap().to_string()),
        tokens: None,
        signer: None,
        retry: Retry {
            attempts: 2,
            stall: Duration::from_millis(100),
            ..impatient()
        },
    };
    let store = qdrant_backup::wire::store::GcsStore::open(BUCKET, "", options)
        .await
        .unwrap();
    let error = store.get("a", None, None).await.map(drop).unwrap_err();
    assert_eq!(error.code(), Code::Stalled, "{error}");
    for error in [
        store.check().await.unwrap_err(),
        store.head("a").await.unwrap_err(),
        store.list("").await.unwrap().next().await.unwrap().unwrap_err(),
        store.delete("a", &Version("1".to_string())).await.unwrap_err(),
    ] {
        assert_eq!(error.code(), Code::StoreUnreachable, "{error}");
    }
    let error = put(&store, "a", &noise(10, 1)).await.unwrap_err();
    assert_eq!(error.code(), Code::Stalled, "{error}");
}

#[tokio::test]
async fn prefixes_are_nested_and_trimmed() {
    let emulator = emulator().await;
    let store = gcs_with(&emulator, "/qdrant/prod/", impatient()).await;
    assert_eq!(store.url(), format!("gs://{BUCKET}/qdrant/prod"));
    put(&store, "backups/1/a", &noise(10, 1)).await.unwrap();
    assert!(emulator.object(BUCKET, "qdrant/prod/backups/1/a").is_some());
    let store = gcs(&emulator, "").await;
    assert_eq!(store.url(), format!("gs://{BUCKET}"));
    assert_eq!(keys(&store, "").await, ["qdrant/prod/backups/1/a"]);
}
