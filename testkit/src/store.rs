//! A store for one test, in a directory or in a bucket, and what one asks of it.

use crate::bucket::create_bucket;
use crate::source::Scripted;
use bytes::Bytes;
use futures_util::stream::{BoxStream, StreamExt};
use gcs_emulator::Emulator;
use qdrant_backup::base::error::Result;
use qdrant_backup::wire::store::{self, Condition, GcsOptions, GcsStore, ObjectMeta, Retry, Store, Version};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;

pub const BUCKET: &str = "test-bucket";
/// Of what is in the bucket of [`TestStore::in_emulator`].
pub const PREFIX: &str = "some/prefix";

/// A store of either kind, and what keeps it alive.
pub struct TestStore {
    pub store: Arc<dyn Store>,
    /// The emulator of its own, if it has one.
    pub gcs: Option<Emulator>,
    dir: Option<TempDir>,
    env: Vec<(&'static str, String)>,
}

impl TestStore {
    /// A directory.
    pub async fn in_directory() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let url = url::Url::from_directory_path(dir.path()).unwrap().to_string();
        Self {
            store: store::open(&url, GcsOptions::default()).await.unwrap(),
            gcs: None,
            dir: Some(dir),
            env: vec![("BACKUP_STORE", url)],
        }
    }

    /// A bucket in an emulator of its own, which can be told to fail.
    pub async fn in_emulator() -> Self {
        Self::of(Bucket::in_emulator().await, Retry::default()).await
    }

    /// As [`TestStore::in_emulator`], with a store that gives up soon.
    pub async fn in_emulator_with(retry: Retry) -> Self {
        Self::of(Bucket::in_emulator().await, retry).await
    }

    /// A bucket at `GCS_TEST_ENDPOINT`, if that is set, else in an emulator of its own.
    pub async fn in_bucket() -> Self {
        Self::of(Bucket::new().await, Retry::default()).await
    }

    async fn of(bucket: Bucket, retry: Retry) -> Self {
        let options = GcsOptions {
            endpoint: Some(bucket.endpoint.clone()),
            tokens: None,
            signer: None,
            retry,
        };
        Self {
            store: store::open(&bucket.url(), options).await.unwrap(),
            env: bucket.env(),
            gcs: bucket.emulator,
            dir: None,
        }
    }

    /// What a process or service is told that works with this store.
    pub fn env(&self) -> Vec<(&'static str, String)> {
        self.env.clone()
    }

    /// Its directory. Panics if it is in a bucket.
    pub fn dir(&self) -> &Path {
        self.dir.as_ref().unwrap().path()
    }

    /// Its emulator. Panics if it has none of its own.
    pub fn gcs(&self) -> &Emulator {
        self.gcs.as_ref().unwrap()
    }

    pub async fn keys(&self) -> Vec<String> {
        keys(&*self.store, "").await
    }
}

/// A bucket, and what runs it.
pub struct Bucket {
    pub name: String,
    pub endpoint: String,
    /// A prefix that nobody else has.
    pub prefix: String,
    emulator: Option<Emulator>,
}

impl Bucket {
    /// At `GCS_TEST_ENDPOINT`, if that is set, else in an emulator of its own.
    pub async fn new() -> Self {
        let Ok(endpoint) = std::env::var("GCS_TEST_ENDPOINT") else {
            return Self::in_emulator().await;
        };
        let name = std::env::var("GCS_TEST_BUCKET").unwrap_or_else(|_| BUCKET.to_owned());
        create_bucket(&endpoint, &name).await;
        Self {
            name,
            endpoint,
            prefix: format!("test/{}", uuid::Uuid::new_v4()),
            emulator: None,
        }
    }

    async fn in_emulator() -> Self {
        let emulator = emulator().await;
        Self {
            name: BUCKET.to_owned(),
            endpoint: emulator.url().to_owned(),
            prefix: PREFIX.to_owned(),
            emulator: Some(emulator),
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

pub async fn emulator() -> Emulator {
    let emulator = Emulator::start().await.unwrap();
    emulator.create_bucket(BUCKET);
    emulator
}

/// Short pauses, so that tests of many attempts are quick.
pub fn impatient() -> Retry {
    Retry {
        attempts: 4,
        first_delay: Duration::from_millis(1),
        longest_delay: Duration::from_millis(5),
        start: Duration::ZERO,
        ..Default::default()
    }
}

pub async fn gcs(emulator: &Emulator, prefix: &str) -> GcsStore {
    gcs_with(emulator, prefix, impatient()).await
}

pub async fn gcs_with(emulator: &Emulator, prefix: &str, retry: Retry) -> GcsStore {
    let options = GcsOptions {
        endpoint: Some(emulator.url().to_string()),
        tokens: None,
        signer: None,
        retry,
    };
    GcsStore::open(BUCKET, prefix, options).await.unwrap()
}

pub async fn put(store: &dyn Store, key: &str, bytes: &Bytes) -> Result<ObjectMeta> {
    let source = Box::new(Scripted::new(bytes));
    store.put(key, source, Condition::Absent).await
}

/// As [`put`], of a length that nobody knows.
pub async fn put_stream(store: &dyn Store, key: &str, bytes: &Bytes) -> Result<ObjectMeta> {
    store.put_stream(key, Box::new(Scripted::new(bytes))).await
}

pub async fn swap(store: &dyn Store, key: &str, bytes: &Bytes, version: &Version) -> Result<ObjectMeta> {
    let source = Box::new(Scripted::new(bytes));
    let condition = Condition::Unchanged(version.clone());
    store.put(key, source, condition).await
}

pub async fn read(store: &dyn Store, key: &str) -> Option<Bytes> {
    let stream = store.get(key, None, None).await.unwrap()?;
    Some(collect(stream).await.unwrap())
}

pub async fn collect(mut stream: BoxStream<'static, Result<Bytes>>) -> Result<Bytes> {
    let mut all = Vec::new();
    while let Some(chunk) = stream.next().await {
        all.extend_from_slice(&chunk?);
    }
    Ok(all.into())
}

/// All keys with this prefix, in their order. What runs tell of themselves is among them only where it is asked for: it is written
/// beside their work, at any moment.
pub async fn keys(store: &dyn Store, prefix: &str) -> Vec<String> {
    let listed = store.list(prefix).await.unwrap();
    let keys = listed.map(|meta| meta.unwrap().key);
    let is_told = |key: &String| prefix.starts_with("runs") || !key.starts_with("runs/");
    keys.filter(|key| std::future::ready(is_told(key))).collect().await
}
