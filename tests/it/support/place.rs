//! Where a test takes place: a Qdrant with the sample collections, and a bucket. Those of this workspace, or the server that
//! `QDRANT_TEST_URL` (with `QDRANT_TEST_API_KEY` and `QDRANT_TEST_READ_ONLY_KEY`, if it has keys) names, and the bucket
//! `GCS_TEST_BUCKET` (default `test-bucket`) of the emulator at `GCS_TEST_ENDPOINT`.
//!
//! On a server of somebody else's everything that a test makes has its own prefix in its name, and only that is deleted.

use super::sample::{Client, Sample, fill};
use embedded_qdrant::{Node, NodeOptions};
use gcs_emulator::Emulator;
use serde_json::{Value, json};
use tempfile::TempDir;

/// A Qdrant with the sample collections; all names of a test contain its prefix.
pub struct Place {
    pub client: Client,
    pub prefix: String,
    pub samples: Vec<Sample>,
    /// A key that may only read, where it is known.
    pub read_only: Option<String>,
    node: Option<(Node, TempDir)>,
}

impl Place {
    pub async fn new(scale: u64) -> Self {
        let prefix = format!("t{}-", uuid::Uuid::new_v4().simple());
        let (client, read_only, node) = match std::env::var("QDRANT_TEST_URL") {
            Ok(url) => {
                let key = std::env::var("QDRANT_TEST_API_KEY").ok();
                let read_only = std::env::var("QDRANT_TEST_READ_ONLY_KEY").ok();
                (Client::new(url.trim_end_matches('/'), key.as_deref()), read_only, None)
            }
            Err(_) => {
                let (client, node, dir) = node().await;
                (client, Some("read".to_owned()), Some((node, dir)))
            }
        };
        let samples = fill(&client, &prefix, scale).await.unwrap();
        Self {
            client,
            prefix,
            samples,
            read_only,
            node,
        }
    }

    /// Whether it is a server of somebody else's, which other tests use at the same time.
    pub fn is_shared(&self) -> bool {
        self.node.is_none()
    }

    /// What a process or service is told that backs the samples up.
    pub fn env(&self) -> Vec<(&'static str, String)> {
        let mut env = vec![
            ("QDRANT_URL", self.client.url.clone()),
            ("BACKUP_INCLUDE", format!("{}*", self.prefix)),
        ];
        env.extend(self.client.key.clone().map(|key| ("QDRANT_API_KEY", key)));
        env
    }

    pub fn sample(&self, name: &str) -> &Sample {
        self.samples.iter().find(|s| s.name.ends_with(name)).unwrap()
    }

    /// What the searches of `sample` find in a collection.
    pub async fn answers(&self, sample: &Sample, collection: &str) -> Vec<Value> {
        let mut answers = Vec::new();
        for search in &sample.searches {
            answers.push(self.client.search(collection, search).await.unwrap());
        }
        answers
    }

    /// Collections of this test.
    pub async fn collections(&self) -> Vec<String> {
        let all = self.client.call("GET", "/collections", None).await.unwrap();
        let all = all["collections"].as_array().unwrap().iter();
        let mut names: Vec<_> = all.map(|c| c["name"].as_str().unwrap().to_owned()).collect();
        names.retain(|name| name.contains(&self.prefix));
        names.sort();
        names
    }

    /// Nothing of a backup or a restore is left beside the collections.
    pub async fn has_no_snapshots(&self) {
        for name in self.collections().await {
            let path = format!("/collections/{name}/snapshots");
            assert_eq!(self.client.call("GET", &path, None).await.unwrap(), json!([]), "{name}");
        }
    }

    /// Deletes what this test made.
    pub async fn end(self) {
        self.has_no_snapshots().await;
        for name in self.collections().await {
            self.client.delete(&name).await.unwrap();
        }
        if let Some((node, _dir)) = self.node {
            node.stop().await;
        }
    }
}

/// A node of its own, with the keys `full` and `read`.
pub async fn node() -> (Client, Node, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let options = NodeOptions {
        api_key: Some("full".into()),
        read_only_key: Some("read".into()),
        ..NodeOptions::new(dir.path())
    };
    let node = Node::start(options).await.unwrap();
    (Client::new(node.url(), Some("full")), node, dir)
}

/// A bucket, and what runs it.
pub struct Bucket {
    pub name: String,
    pub endpoint: String,
    /// A prefix that nobody else has.
    pub prefix: String,
    pub emulator: Option<Emulator>,
}

impl Bucket {
    pub async fn new() -> Self {
        let name = std::env::var("GCS_TEST_BUCKET").unwrap_or_else(|_| "test-bucket".to_owned());
        let prefix = format!("test/{}", uuid::Uuid::new_v4());
        let (endpoint, emulator) = match std::env::var("GCS_TEST_ENDPOINT") {
            Ok(endpoint) => {
                super::bucket::create_bucket(&endpoint, &name).await;
                (endpoint, None)
            }
            Err(_) => {
                let emulator = Emulator::start().await.unwrap();
                emulator.create_bucket(&name);
                (emulator.url().to_owned(), Some(emulator))
            }
        };
        Self {
            name,
            endpoint,
            prefix,
            emulator,
        }
    }

    pub fn url(&self) -> String {
        format!("gs://{}/{}", self.name, self.prefix)
    }

    pub fn env(&self) -> Vec<(&'static str, String)> {
        vec![
            ("BACKUP_STORE", self.url()),
            ("STORAGE_EMULATOR_HOST", self.endpoint.clone()),
        ]
    }
}

/// The environment as [`super::service::Service::start`] takes it.
pub fn borrowed<'a>(env: &'a [(&'static str, String)]) -> Vec<(&'a str, &'a str)> {
    env.iter().map(|(k, v)| (*k, v.as_str())).collect()
}
