//! Sources, bodies and stores for the tests.

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt, stream::BoxStream};
use gcs_emulator::Emulator;
use qdrant_backup::base::error::{Code, Error, Result};
use qdrant_backup::wire::store::{
    Condition, DirStore, GcsOptions, GcsStore, ObjectMeta, Retry, Source, Store, Version,
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::sync::Semaphore;

pub(crate) const BUCKET: &str = "test-bucket";

/// Bytes without a pattern, the same for the same seed.
pub(crate) fn noise(len: usize, seed: u64) -> Bytes {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    let mut bytes: Vec<u8> = (0..len.div_ceil(8)).flat_map(|_| next()).collect();
    bytes.truncate(len);
    bytes.into()
}

/// A source over bytes that can misbehave.
pub(crate) struct Scripted {
    bytes: Bytes,
    at: usize,
    /// What [`Source::len`] says.
    promised: u64,
    /// Fails when it gets here, for ever.
    fails_at: Option<usize>,
    /// Waits here for ever.
    hangs_at: Option<usize>,
    /// A checksum that the source claims to have computed.
    claims: Option<u32>,
    pub(crate) seeks: Arc<AtomicU64>,
    pub(crate) hung: Arc<Semaphore>,
}

impl Scripted {
    pub(crate) fn new(bytes: &Bytes) -> Self {
        Self {
            bytes: bytes.clone(),
            at: 0,
            promised: bytes.len() as u64,
            fails_at: None,
            hangs_at: None,
            claims: None,
            seeks: Arc::default(),
            hung: Arc::new(Semaphore::new(0)),
        }
    }

    pub(crate) fn promising(mut self, len: u64) -> Self {
        self.promised = len;
        self
    }

    pub(crate) fn failing_at(mut self, at: usize) -> Self {
        self.fails_at = Some(at);
        self
    }

    pub(crate) fn hanging_at(mut self, at: usize) -> Self {
        self.hangs_at = Some(at);
        self
    }

    pub(crate) fn claiming(mut self, crc32c: u32) -> Self {
        self.claims = Some(crc32c);
        self
    }
}

#[async_trait]
impl Source for Scripted {
    fn len(&self) -> u64 {
        self.promised
    }

    async fn next(&mut self) -> Option<Result<Bytes>> {
        if self.fails_at.is_some_and(|at| self.at >= at) {
            return Some(Err(Error::new(Code::SnapshotChanged, "the snapshot changed")));
        }
        if self.hangs_at.is_some_and(|at| self.at >= at) {
            self.hung.add_permits(1);
            std::future::pending::<()>().await;
        }
        let end = (self.at + 100_000).min(self.bytes.len());
        let chunk = self.bytes.slice(self.at..end);
        self.at = end;
        (!chunk.is_empty()).then_some(Ok(chunk))
    }

    async fn seek(&mut self, offset: u64) -> Result<()> {
        self.seeks.fetch_add(1, Ordering::Relaxed);
        self.at = usize::try_from(offset).unwrap();
        Ok(())
    }

    fn crc32c(&self) -> Option<u32> {
        self.claims
    }
}

/// A store for one test, and what keeps it alive.
pub(crate) struct Made {
    pub(crate) store: Arc<dyn Store>,
    _keep: Box<dyn Send>,
}

pub(crate) async fn make_dir() -> Made {
    let directory = tempfile::tempdir().unwrap();
    let store = DirStore::open(directory.path()).await.unwrap();
    Made {
        store: Arc::new(store),
        _keep: Box::new(directory),
    }
}

pub(crate) async fn make_gcs() -> Made {
    let Ok(endpoint) = std::env::var("GCS_TEST_ENDPOINT") else {
        let emulator = emulator().await;
        let store = gcs(&emulator, "some/prefix").await;
        return Made {
            store: Arc::new(store),
            _keep: Box::new(emulator),
        };
    };
    let bucket = std::env::var("GCS_TEST_BUCKET").unwrap_or_else(|_| BUCKET.to_string());
    crate::support::bucket::create_bucket(&endpoint, &bucket).await;
    let prefix = uuid::Uuid::new_v4().to_string();
    let options = GcsOptions {
        endpoint: Some(endpoint),
        ..Default::default()
    };
    let store = GcsStore::open(&bucket, &prefix, options).await.unwrap();
    Made {
        store: Arc::new(store),
        _keep: Box::new(()),
    }
}

pub(crate) async fn emulator() -> Emulator {
    let emulator = Emulator::start().await.unwrap();
    emulator.create_bucket(BUCKET);
    emulator
}

/// Short pauses, so that tests of many attempts are quick.
pub(crate) fn impatient() -> Retry {
    Retry {
        attempts: 4,
        first_delay: Duration::from_millis(1),
        longest_delay: Duration::from_millis(5),
        ..Default::default()
    }
}

pub(crate) async fn gcs(emulator: &Emulator, prefix: &str) -> GcsStore {
    gcs_with(emulator, prefix, impatient()).await
}

pub(crate) async fn gcs_with(emulator: &Emulator, prefix: &str, retry: Retry) -> GcsStore {
    let options = GcsOptions {
        endpoint: Some(emulator.url().to_string()),
        tokens: None,
        signer: None,
        retry,
    };
    GcsStore::open(BUCKET, prefix, options).await.unwrap()
}

pub(crate) async fn put(store: &dyn Store, key: &str, bytes: &Bytes) -> Result<ObjectMeta> {
    let source = Box::new(Scripted::new(bytes));
    store.put(key, source, Condition::Absent).await
}

pub(crate) async fn swap(store: &dyn Store, key: &str, bytes: &Bytes, version: &Version) -> Result<ObjectMeta> {
    let source = Box::new(Scripted::new(bytes));
    let condition = Condition::Unchanged(version.clone());
    store.put(key, source, condition).await
}

pub(crate) async fn read(store: &dyn Store, key: &str) -> Option<Bytes> {
    let stream = store.get(key, None, None).await.unwrap()?;
    Some(collect(stream).await.unwrap())
}

pub(crate) async fn collect(mut stream: BoxStream<'static, Result<Bytes>>) -> Result<Bytes> {
    let mut all = Vec::new();
    while let Some(chunk) = stream.next().await {
        all.extend_from_slice(&chunk?);
    }
    Ok(all.into())
}

pub(crate) async fn keys(store: &dyn Store, prefix: &str) -> Vec<String> {
    let listed = store.list(prefix).await.unwrap();
    listed.map(|meta| meta.unwrap().key).collect().await
}
