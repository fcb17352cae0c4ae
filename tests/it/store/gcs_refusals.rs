//! What Cloud Storage refuses, and what the person is told.

use futures_util::StreamExt as _;
use gcs_emulator::{Emulator, Fault, On};
use qdrant_backup::base::error::{Code, Error};
use qdrant_backup::wire::store::{GcsOptions, GcsStore, Store, Version, open};
use std::time::Duration;
use testkit::source::noise;
use testkit::store::{BUCKET, emulator, gcs, impatient, put, swap};

/// What every operation of a store says.
async fn every_operation(store: &GcsStore) -> Vec<(&'static str, Error)> {
    let version = Version("1".to_string());
    let listed = store.list("").await.unwrap().next().await;
    vec![
        (
            "storage.objects.create",
            put(store, "a", &noise(1000, 1)).await.unwrap_err(),
        ),
        (
            "storage.objects.get",
            store.get("a", None, None).await.map(drop).unwrap_err(),
        ),
        ("storage.objects.get", store.head("a").await.unwrap_err()),
        ("storage.objects.list", listed.unwrap().unwrap_err()),
        ("storage.objects.delete", store.delete("a", &version).await.unwrap_err()),
        ("storage.objects.list", store.check().await.unwrap_err()),
    ]
}

async fn with_status(code: u16) -> (Emulator, Vec<(&'static str, Error)>) {
    let emulator = emulator().await;
    let store = gcs(&emulator, "p").await;
    emulator.fault("*", usize::MAX, Fault::Status { on: On::Any, code });
    let errors = every_operation(&store).await;
    assert!(emulator.objects(BUCKET).is_empty());
    (emulator, errors)
}

#[tokio::test]
async fn a_refusal_names_the_bucket_and_the_permission() {
    let (emulator, errors) = with_status(403).await;
    for (permission, error) in errors {
        assert_eq!(error.code(), Code::StoreForbidden, "{error}");
        assert!(error.is_permanent());
        let text = error.to_string();
        assert!(text.contains(BUCKET) && text.contains(permission), "{text}");
    }
    assert!(emulator.requests().len() < 10, "a refusal is not asked again");
}

#[tokio::test]
async fn what_keeps_an_object_is_told_and_not_as_a_missing_right() {
    let emulator = emulator().await;
    let store = gcs(&emulator, "p").await;
    let bytes = noise(1000, 1);
    for key in ["held it's", "retained"] {
        let meta = put(&store, key, &bytes).await.unwrap();
        let name = format!("p/{key}");
        match key {
            "retained" => emulator.retain(BUCKET, &name, Duration::from_secs(3600)),
            _ => emulator.hold(BUCKET, &name),
        }
        let errors = [
            store.delete(key, &meta.version).await.unwrap_err(),
            swap(&store, key, &bytes, &meta.version).await.unwrap_err(),
        ];
        for error in errors {
            assert_eq!(error.code(), Code::StoreRetained, "{key}: {error}");
            assert!(error.is_permanent());
            let remedy = error.remedy_text().unwrap();
            let expected = match key {
                "retained" => "retention_policy",
                _ => r"'gs://test-bucket/p/held it'\''s' --no-temporary-hold",
            };
            assert!(remedy.contains(expected) && !remedy.contains("grant"), "{remedy}");
        }
        assert!(emulator.object(BUCKET, &name).is_some());
    }
}

#[tokio::test]
async fn a_retention_without_a_reason_is_read_from_the_object() {
    let emulator = emulator().await;
    let store = gcs(&emulator, "p").await;
    let meta = put(&store, "a", &noise(1000, 1)).await.unwrap();
    emulator.retain(BUCKET, "p/a", Duration::from_secs(3600));
    emulator.fault(
        "p/a",
        1,
        Fault::Status {
            on: On::Delete,
            code: 403,
        },
    );
    let error = store.delete("a", &meta.version).await.unwrap_err();
    assert_eq!(error.code(), Code::StoreRetained, "{error}");
    let remedy = error.remedy_text().unwrap();
    // It may have ended: the store has no clock.
    assert!(
        remedy.starts_with("wait until 20") && remedy.contains("storage.objects.delete"),
        "{remedy}"
    );
}

#[tokio::test]
async fn a_name_that_is_taken_is_a_conflict_also_for_who_may_not_replace_objects() {
    let emulator = emulator().await;
    let store = gcs(&emulator, "p").await;
    put(&store, "a", &noise(1000, 1)).await.unwrap();
    emulator.fault(
        "p/*",
        2,
        Fault::Status {
            on: On::Start,
            code: 403,
        },
    );
    for (key, code) in [("a", Code::StoreConflict), ("b", Code::StoreForbidden)] {
        let error = put(&store, key, &noise(1000, 2)).await.unwrap_err();
        assert_eq!(error.code(), code, "{key}: {error}");
    }
}

#[tokio::test]
async fn too_many_requests_and_outages_may_be_tried_again_later() {
    for code in [429, 500, 503] {
        let (_, errors) = with_status(code).await;
        for (_, error) in errors {
            assert_eq!(error.code(), Code::StoreUnreachable, "{error}");
            assert!(!error.is_permanent());
        }
    }
}

#[tokio::test]
async fn a_full_store_says_so() {
    let emulator = emulator().await;
    let store = gcs(&emulator, "p").await;
    for on in [On::Start, On::Put] {
        emulator.fault("*", 4, Fault::Status { on, code: 507 });
        let error = put(&store, "a", &noise(1000, 1)).await.unwrap_err();
        assert_eq!(error.code(), Code::StoreFull, "{error}");
    }
    assert!(emulator.objects(BUCKET).is_empty());
}

#[tokio::test]
async fn a_missing_bucket_is_named() {
    let emulator = Emulator::start().await.unwrap();
    let store = gcs(&emulator, "p").await;
    for (_, error) in every_operation(&store).await {
        assert_eq!(error.code(), Code::StoreMissing, "{error}");
        assert!(error.to_string().contains(BUCKET));
        assert!(error.remedy_text().unwrap().contains("gcloud storage buckets create"));
    }
}

#[tokio::test]
async fn a_service_that_is_not_there_is_unreachable() {
    let emulator = emulator().await;
    let store = gcs(&emulator, "p").await;
    drop(emulator);
    tokio::task::yield_now().await;
    let nowhere = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = nowhere.local_addr().unwrap().to_string();
    drop(nowhere);
    let options = GcsOptions {
        endpoint: Some(address),
        tokens: None,
        signer: None,
        retry: impatient(),
    };
    drop(store);
    let store = GcsStore::open(BUCKET, "p", options).await.unwrap();
    for (_, error) in every_operation(&store).await {
        assert_eq!(error.code(), Code::StoreUnreachable, "{error}");
    }
}

#[tokio::test]
async fn a_writer_that_may_only_append_is_enough() {
    let emulator = emulator().await;
    emulator.deny("storage.buckets.get");
    emulator.deny("storage.objects.delete");
    let store = gcs(&emulator, "p").await;
    store.check().await.unwrap();
    put(&store, "a.json", &noise(1000, 1)).await.unwrap();
    let error = put(&store, "a.json", &noise(1000, 2)).await.unwrap_err();
    assert_eq!(error.code(), Code::StoreConflict);
}

#[tokio::test]
async fn a_check_names_all_that_is_missing() {
    let emulator = emulator().await;
    emulator.deny("storage.objects.create");
    emulator.deny("storage.objects.get");
    let store = gcs(&emulator, "p").await;
    let error = store.check().await.unwrap_err();
    assert_eq!(error.code(), Code::StoreForbidden);
    let text = error.to_string();
    let named = ["create", "get", "list"].map(|right| text.contains(&format!("storage.objects.{right}")));
    assert_eq!(named, [true, true, false], "{text}");
}

#[tokio::test]
async fn a_bucket_may_have_dots_and_an_endpoint_no_scheme() {
    let emulator = Emulator::start().await.unwrap();
    emulator.create_bucket("csfiledata.ariel.com.tw");
    for endpoint in [emulator.url(), emulator.url().trim_start_matches("http://")] {
        let options = GcsOptions {
            endpoint: Some(format!("{endpoint}/")),
            ..Default::default()
        };
        let url = "gs://csfiledata.ariel.com.tw/qdrant/";
        let store = open(url, options).await.unwrap();
        store.check().await.unwrap();
        let meta = put(&*store, "a.json", &noise(1000, 1)).await.unwrap();
        assert!(store.delete("a.json", &meta.version).await.unwrap());
        assert_eq!(store.url(), "gs://csfiledata.ariel.com.tw/qdrant");
    }
}

#[tokio::test]
async fn an_endpoint_that_is_none_is_refused() {
    for endpoint in ["", "ftp://x", "http://", "host:1/path", "a b"] {
        let options = GcsOptions {
            endpoint: Some(endpoint.to_string()),
            ..Default::default()
        };
        let error = open("gs://b", options).await.map(drop).unwrap_err();
        assert_eq!(error.code(), Code::ConfigInvalid, "{endpoint}");
        assert!(error.to_string().contains("STORAGE_EMULATOR_HOST"));
    }
}
