//! The whole journey through the HTTP service: a Qdrant with collections of three kinds, both stores, and the restore by
//! Qdrant's own API.
//!
//! The Qdrant is the embedded node, or the server that `QDRANT_TEST_URL` (and `QDRANT_TEST_API_KEY`) names; the bucket is in
//! the emulator of this workspace, or at `GCS_TEST_ENDPOINT` (bucket `GCS_TEST_BUCKET`, default `test-bucket`).
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use embedded_qdrant::{Node, NodeOptions};
use futures_util::TryStreamExt;
use gcs_emulator::Emulator;
use qdrant_backup::manifest::{self, Manifest};
use qdrant_backup::store::{self, GcsOptions, Store};
use serde_json::{Value, json};
use std::sync::Arc;
use support::run::keys;
use support::sample::{Client, Sample, fill};
use support::service::Service;
use tempfile::TempDir;

/// A Qdrant with the sample collections; their names begin with a prefix of this test's own.
struct Source {
    client: Client,
    prefix: String,
    samples: Vec<Sample>,
    node: Option<(Node, TempDir)>,
}

impl Source {
    async fn start() -> Self {
        let prefix = format!("t{}-", uuid::Uuid::new_v4().simple());
        let (client, node) = match std::env::var("QDRANT_TEST_URL") {
            Ok(url) => {
                let key = std::env::var("QDRANT_TEST_API_KEY").ok();
                (Client::new(url.trim_end_matches('/'), key.as_deref()), None)
            }
            Err(_) => {
                let dir = tempfile::tempdir().unwrap();
                let options = NodeOptions {
                    api_key: Some("full".into()),
                    read_only_key: Some("read".into()),
                    ..NodeOptions::new(dir.path())
                };
                let node = Node::start(options).await.unwrap();
                (Client::new(node.url(), Some("full")), Some((node, dir)))
            }
        };
        let samples = fill(&client, &prefix, 50).await.unwrap();
        Self {
            client,
            prefix,
            samples,
            node,
        }
    }

    /// A service that backs this Qdrant up into `store`.
    async fn service(&self, store: &[(&str, &str)]) -> Service {
        let include = format!("{}*", self.prefix);
        let mut env = vec![("QDRANT_URL", self.client.url.as_str()), ("BACKUP_INCLUDE", &include)];
        env.extend(self.client.key.as_deref().map(|key| ("QDRANT_API_KEY", key)));
        env.extend(store);
        Service::start(&env).await
    }

    /// Nothing of a backup is left on Qdrant.
    async fn is_clean(&self) {
        for sample in &self.samples {
            let path = format!("/collections/{}/snapshots", sample.name);
            assert_eq!(
                self.client.call("GET", &path, None).await.unwrap(),
                json!([]),
                "{}",
                sample.name
            );
        }
    }

    /// Uploads an artifact as a new collection and compares that with the live one.
    async fn restores(&self, sample: &Sample, bytes: Vec<u8>, sha256: &str) {
        let copy = format!("{}-copy", sample.name);
        let mut request = self
            .client
            .http
            .post(format!(
                "{}/collections/{copy}/snapshots/upload?wait=true&priority=snapshot&checksum={sha256}",
                self.client.url
            ))
            .multipart(reqwest::multipart::Form::new().part(
                "snapshot",
                reqwest::multipart::Part::bytes(bytes).file_name("x.snapshot"),
            ));
        if let Some(key) = &self.client.key {
            request = request.header("api-key", key);
        }
        let response = request.send().await.unwrap();
        assert!(response.status().is_success(), "{}", response.text().await.unwrap());
        assert_eq!(self.client.count(&copy).await.unwrap(), sample.points);
        for search in &sample.searches {
            let (live, restored) = (
                self.client.search(&sample.name, search).await,
                self.client.search(&copy, search).await,
            );
            let (live, restored) = (live.unwrap(), restored.unwrap());
            assert_eq!(live, restored, "{search}");
            assert!(
                sample.points == 0 || !live["points"].as_array().unwrap().is_empty(),
                "the search finds nothing"
            );
        }
        self.client.delete(&copy).await.unwrap();
    }

    async fn end(self) {
        for sample in &self.samples {
            self.client.delete(&sample.name).await.unwrap();
        }
        if let Some((node, _dir)) = self.node {
            node.stop().await;
        }
    }
}

/// A backup through the service, from `POST /backup` to the restored collection.
async fn journey(env: &[(&str, &str)], store: Arc<dyn Store>) {
    let source = Source::start().await;
    let service = source.service(env).await;
    let (status, report) = service.post("/backup", "{}").await;
    assert_eq!((status, report["status"].as_str()), (200, Some("complete")), "{report}");
    assert_eq!(report["collections"].as_array().unwrap().len(), 3);
    source.is_clean().await;

    let id = report["id"].as_str().unwrap();
    let (status, shown) = service.get(&format!("/backups/{id}")).await;
    assert_eq!(status, 200, "{shown}");
    let manifest = manifest::read(&*store, &id.parse().unwrap()).await.unwrap();
    let as_json: Value = serde_json::to_value(&manifest).unwrap();
    assert_eq!(shown["collections"], as_json["collections"]);
    for sample in &source.samples {
        let collection = manifest.collections.iter().find(|c| c.name == sample.name).unwrap();
        assert_eq!(
            (collection.points_before, collection.points_after),
            (sample.points, sample.points)
        );
        let artifact = &collection.artifacts[0];
        assert!(artifact.sha256_confirmed_by_qdrant);
        let bytes = manifest::read_small(&*store, &artifact.key, u64::MAX)
            .await
            .unwrap()
            .unwrap();
        assert_eq!(bytes.len() as u64, artifact.bytes);
        source.restores(sample, bytes, &artifact.sha256).await;
    }
    let articles = manifest
        .collections
        .iter()
        .find(|c| c.name.ends_with("articles"))
        .unwrap();
    assert_eq!(articles.aliases, [format!("{}live", source.prefix)]);

    let (status, list) = service.get("/backups").await;
    assert_eq!((status, list["backups"][0]["id"].as_str()), (200, Some(id)), "{list}");
    let (status, all) = service.get("/status").await;
    assert_eq!((status, all["last_backup"]["id"].as_str()), (200, Some(id)), "{all}");
    let (_, collections) = service.get("/collections").await;
    let mine = collections["collections"]
        .as_array()
        .unwrap()
        .iter()
        .find(|c| c["name"] == articles.name.as_str())
        .unwrap();
    assert_eq!(mine["backup_bytes"], json!(articles.bytes()));
    let left: Vec<_> = keys(&*store)
        .await
        .into_iter()
        .filter(|k| !k.starts_with("backups/"))
        .collect();
    assert_eq!(left, [""; 0], "no lease and no intent may stay");
    source.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn into_a_directory_and_back() {
    let dir = tempfile::tempdir().unwrap();
    let url = url::Url::from_directory_path(dir.path()).unwrap().to_string();
    let store = store::open(&url, GcsOptions::default()).await.unwrap();
    journey(&[("BACKUP_STORE", &url)], store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn into_a_bucket_and_back() {
    let (emulator, endpoint, bucket) = bucket().await;
    let prefix = format!("e2e/{}", uuid::Uuid::new_v4());
    let url = format!("gs://{bucket}/{prefix}");
    let options = GcsOptions {
        endpoint: Some(endpoint.clone()),
        ..GcsOptions::default()
    };
    let store = store::open(&url, options).await.unwrap();
    // By the older names of the variables.
    let env = [
        ("GCS_BUCKET_NAME", bucket.as_str()),
        ("GCS_FOLDER_PREFIX", &prefix),
        ("STORAGE_EMULATOR_HOST", &endpoint),
    ];
    journey(&env, store).await;
    drop(emulator);
}

/// The bucket to test with, and what runs it.
async fn bucket() -> (Option<Emulator>, String, String) {
    let bucket = std::env::var("GCS_TEST_BUCKET").unwrap_or_else(|_| "test-bucket".to_owned());
    if let Ok(endpoint) = std::env::var("GCS_TEST_ENDPOINT") {
        return (None, endpoint, bucket);
    }
    let emulator = Emulator::start().await.unwrap();
    emulator.create_bucket(&bucket);
    let endpoint = emulator.url().to_owned();
    (Some(emulator), endpoint, bucket)
}

#[tokio::test(flavor = "multi_thread")]
async fn one_collection_as_the_old_service_was_asked() {
    let source = Source::start().await;
    let dir = tempfile::tempdir().unwrap();
    let url = url::Url::from_directory_path(dir.path()).unwrap().to_string();
    let service = source.service(&[("BACKUP_STORE", &url)]).await;
    let name = &source.samples[1].name;
    let (status, report) = service.post("/backup", &json!({"collection": name}).to_string()).await;
    assert_eq!(status, 200, "{report}");
    assert_eq!(report["collections"].as_array().unwrap().len(), 1);
    assert_eq!(report["collections"][0]["name"], json!(name));
    let (status, error) = service.post("/backup", r#"{"collection": "nope"}"#).await;
    assert_eq!(
        (status, error["error"]["code"].as_str()),
        (404, Some("collection_not_found")),
        "{error}"
    );
    let found: Manifest = {
        let store = store::open(&url, GcsOptions::default()).await.unwrap();
        let metas: Vec<_> = store.list("backups/").await.unwrap().try_collect().await.unwrap();
        assert_eq!(metas.len(), 2, "one snapshot and one manifest");
        manifest::read(&*store, &report["id"].as_str().unwrap().parse().unwrap())
            .await
            .unwrap()
    };
    assert_eq!(found.selection.collections, std::slice::from_ref(name));
    source.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_may_only_read_is_refused_with_the_remedy() {
    let source = Source::start().await;
    let Some((node, _)) = &source.node else {
        return source.end().await; // a server of somebody else's: its keys are not known
    };
    let dir = tempfile::tempdir().unwrap();
    let url = url::Url::from_directory_path(dir.path()).unwrap().to_string();
    for (key, code) in [("read", "qdrant_forbidden"), ("wrong", "qdrant_unauthorized")] {
        let env = [
            ("QDRANT_URL", node.url()),
            ("QDRANT_API_KEY", key.to_owned()),
            ("BACKUP_STORE", url.clone()),
        ];
        let env: Vec<_> = env.iter().map(|(k, v)| (*k, v.as_str())).collect();
        let service = Service::start(&env).await;
        let (status, answer) = service.post("/backup", "{}").await;
        let text = answer.to_string();
        assert!((500..=502).contains(&status) && text.contains(code), "{status} {text}");
    }
    source.is_clean().await;
    assert_eq!(
        std::fs::read_dir(dir.path())
            .unwrap()
            .filter(|e| e.as_ref().unwrap().file_name() == "backups")
            .count(),
        0
    );
    source.end().await;
}
